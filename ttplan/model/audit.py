"""Audit entries, their actors and anchors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

from pydantic import BaseModel, Field

from ttplan.model.base import FrozenModel, Hex64, Hex128
from ttplan.model.errors import InputError
from ttplan.model.stored_entry import StoredEntry as StoredEntry

_USER_NAMESPACE = uuid5(UUID(int=0), "ttplan user")
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


class User(FrozenModel):
    """A person, by id.

    Parameters
    ----------
    user_id : UUID or str

    Examples
    --------
    >>> import ttplan
    >>> ttplan.User("00000000-0000-0000-0000-000000000007").user_id
    UUID('00000000-0000-0000-0000-000000000007')
    """

    type: Literal["user"] = "user"
    user_id: UUID

    def __init__(self, user_id: UUID | str, **data: Any) -> None:
        BaseModel.__init__(self, user_id=user_id, **data)

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the user with this name.

        A UUID is used as it is. Any other name, such as an e-mail address, becomes a UUIDv5: the
        same name gives the same id everywhere, regardless of case and spacing. The audit chain
        then contains no names, but someone who guesses a name can confirm it.

        Parameters
        ----------
        name : str
            A name, an e-mail address or a UUID.

        Returns
        -------
        User

        Raises
        ------
        InputError
            If the name is empty.

        Examples
        --------
        >>> import ttplan
        >>> ttplan.User.named("ada@example.com") == ttplan.User.named(" Ada@Example.com")
        True
        """
        normalised = " ".join(name.split())
        if not normalised:
            raise InputError(
                "the user name is empty; expected a name, such as an e-mail address, or a user id "
                "(a UUID)"
            )
        if re.fullmatch(_UUID, normalised.lower(), re.ASCII):
            return cls(UUID(normalised))
        text = normalised.casefold().encode(errors="replace").decode()
        return cls(uuid5(_USER_NAMESPACE, text))


class ApiKey(FrozenModel):
    """A program that authenticated with an API key.

    Parameters
    ----------
    key_id : UUID or str
        The key's id, never the key itself.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.ApiKey("00000000-0000-0000-0000-000000000007").type
    'api_key'
    """

    type: Literal["api_key"] = "api_key"
    key_id: UUID

    def __init__(self, key_id: UUID | str, **data: Any) -> None:
        BaseModel.__init__(self, key_id=key_id, **data)


class System(FrozenModel):
    """The system itself, acting without a person.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.System().model_dump()
    {'type': 'system'}
    """

    type: Literal["system"] = "system"


class Anonymous(FrozenModel):
    """A person or program that did not identify itself.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.Anonymous().model_dump()
    {'type': 'anonymous'}
    """

    type: Literal["anonymous"] = "anonymous"


Actor = Annotated[User | ApiKey | System | Anonymous, Field(discriminator="type")]
Seq = Annotated[int, Field(ge=0, lt=2**63)]


class AuditEntry(FrozenModel):
    """One entry of an organisation's audit chain.

    Attributes
    ----------
    id, org_id : UUID
    seq : int
        0-based position in the chain.
    timestamp : str
        The text that was hashed, such as `2026-05-01T12:00:00+00:00`, with 0, 3, 6 or 9 digits of
        a second. It stays text so that no precision of foreign entries is lost.
    actor : User, ApiKey, System or Anonymous
    event : str
        Such as `plan.applied`.
    payload : dict
    prev_hash, hash : str
        64 lower-case hex digits.
    signature : str
        128 lower-case hex digits.
    """

    id: UUID
    org_id: UUID
    seq: Seq
    timestamp: str
    actor: Actor
    event: str
    payload: dict[str, Any]
    prev_hash: Hex64
    hash: Hex64
    signature: Hex128


class TipAnchor(FrozenModel):
    """A note of where a chain ended, written `<seq>:<hash>`.

    Parameters
    ----------
    seq : int
        `seq` of the last entry.
    hash : str
        Its hash, 64 lower-case hex digits.

    Examples
    --------
    >>> import ttplan
    >>> anchor = ttplan.TipAnchor.parse("41:" + "9f" * 32)
    >>> anchor.seq
    41
    """

    seq: Seq
    hash: Hex64

    def __init__(self, seq: int, hash: str) -> None:
        BaseModel.__init__(self, seq=seq, hash=hash)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an anchor such as `41:9f…`. Raises InputError if the text is not an anchor."""
        match = re.fullmatch(r"(0|[1-9][0-9]{0,18}):([0-9a-f]{64})", text.strip(" \n"), re.ASCII)
        if match is None or int(match[1]) >= 2**63:
            raise InputError(
                f"{text!r} is not an anchor: expected <seq>:<hash>, such as 41:9f… with 64 hex "
                "digits"
            )
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    __repr__ = __str__  # so that it can be copied from a notebook
