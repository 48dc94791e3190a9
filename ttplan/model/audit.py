"""Audit entries, their actors and anchors: contracts section 2 as types."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.errors import InputError
from ttplan.model.stored_entry import StoredEntry as StoredEntry

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_NAMES = uuid5(UUID(int=0), "ttplan user")
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class User(BaseModel):
    """A person, by id."""

    model_config = _FROZEN
    type: Literal["user"] = "user"
    user_id: UUID

    def __init__(self, user_id: UUID | str, **data: Any) -> None:
        super().__init__(user_id=user_id, **data)

    @classmethod
    def named(cls, name: str) -> Self:
        """The person of that name: an id (a UUID) as it is, and for anything else, such as an e-mail address, one made of it.

        The same name gives the same id everywhere, however it is capitalised or spaced: UUIDv5 in a namespace of ours. A chain
        then bears no names, but whoever guesses one can tell. Raises InputError for a name that is none.
        """
        said = " ".join(name.split())
        if not said:
            raise InputError(
                "nobody is named; expected a name, such as an e-mail address, or a user id (a UUID)"
            )
        if re.fullmatch(_UUID, said.lower(), re.ASCII):
            return cls(UUID(said))
        return cls(uuid5(_NAMES, said.casefold().encode(errors="replace").decode()))


class ApiKey(BaseModel):
    """A program that authenticated with an API key, by the key's id (never the key)."""

    model_config = _FROZEN
    type: Literal["api_key"] = "api_key"
    key_id: UUID

    def __init__(self, key_id: UUID | str, **data: Any) -> None:
        super().__init__(key_id=key_id, **data)


class System(BaseModel):
    """The system itself, with nobody behind it."""

    model_config = _FROZEN
    type: Literal["system"] = "system"


class Anonymous(BaseModel):
    """Somebody who did not say who they are."""

    model_config = _FROZEN
    type: Literal["anonymous"] = "anonymous"


Actor = Annotated[User | ApiKey | System | Anonymous, Field(discriminator="type")]

Hex64 = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]
Hex128 = Annotated[str, Field(pattern=r"\A[0-9a-f]{128}\z")]


class AuditEntry(BaseModel):
    """One link of an organisation's audit chain.

    `timestamp` is kept as the text that was hashed (`2026-05-01T12:00:00+00:00`, with 0, 3, 6 or 9 digits of a second), so
    that no precision is lost on entries read from elsewhere. Hashes are 64 lower-case hex digits, the signature 128.
    """

    model_config = _FROZEN
    id: UUID
    org_id: UUID
    seq: int = Field(ge=0, lt=2**63)
    timestamp: str
    actor: Actor
    event: str
    payload: dict[str, Any]
    prev_hash: Hex64
    hash: Hex64
    signature: Hex128


class TipAnchor(BaseModel):
    """Where a chain ended when somebody wrote it down: `<seq>:<hash>`."""

    model_config = _FROZEN
    seq: int = Field(ge=0, lt=2**63)
    hash: Hex64

    def __init__(self, seq: int, hash: str) -> None:
        super().__init__(seq=seq, hash=hash)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an anchor as it is written. Raises InputError for anything else."""
        match = re.fullmatch(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})", text.strip(" \n"), re.ASCII)
        if match is None or int(match[1]) >= 2**63:
            raise InputError(
                f"{text!r} is not an anchor: expected <seq>:<hash>, such as 41:9f… with 64 hex digits"
            )
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    __repr__ = __str__  # what one copies
