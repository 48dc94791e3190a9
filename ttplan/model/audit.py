"""Audit entries, their actors and anchors: dataclasses, so that auditors do not need pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import index
from typing import Any, ClassVar, Literal, Self
from uuid import UUID, uuid5

from ttplan.model.errors import InputError
from ttplan.model.stored_entry import StoredEntry as StoredEntry

_USER_NAMESPACE = uuid5(UUID(int=0), "ttplan user")
_UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@dataclass(frozen=True, slots=True)
class Record:
    """Base of the types of an audit chain: immutable, and convertible to JSON values."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    """Applies in stored models that have a field of this type."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values, in order."""
        return {field.name: _to_json(getattr(self, field.name)) for field in fields(self)}

    def _convert(self, name: str, convert: Callable[[Any], object], expected: str) -> None:
        """Replace the value of a field. Raises ValueError if it cannot be converted."""
        value = getattr(self, name)
        try:
            object.__setattr__(self, name, convert(value))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{name} is {value!r:.80}; expected {expected}") from None


@dataclass(frozen=True, slots=True, init=False)
class User(Record):
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

    type: Literal["user"]
    user_id: UUID

    def __init__(self, user_id: UUID | str, type: Literal["user"] = "user") -> None:
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "user_id", user_id)
        self.__post_init__()

    def __post_init__(self) -> None:
        self._convert("type", _matching("user"), "user")
        self._convert("user_id", _to_uuid, "a UUID")

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


@dataclass(frozen=True, slots=True, init=False)
class ApiKey(Record):
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

    type: Literal["api_key"]
    key_id: UUID

    def __init__(self, key_id: UUID | str, type: Literal["api_key"] = "api_key") -> None:
        object.__setattr__(self, "type", type)
        object.__setattr__(self, "key_id", key_id)
        self.__post_init__()

    def __post_init__(self) -> None:
        self._convert("type", _matching("api_key"), "api_key")
        self._convert("key_id", _to_uuid, "a UUID")


@dataclass(frozen=True, slots=True)
class System(Record):
    """The system itself, acting without a person.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.System().to_dict()
    {'type': 'system'}
    """

    type: Literal["system"] = "system"

    def __post_init__(self) -> None:
        self._convert("type", _matching("system"), "system")


@dataclass(frozen=True, slots=True)
class Anonymous(Record):
    """A person or program that did not identify itself.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.Anonymous().to_dict()
    {'type': 'anonymous'}
    """

    type: Literal["anonymous"] = "anonymous"

    def __post_init__(self) -> None:
        self._convert("type", _matching("anonymous"), "anonymous")


Actor = User | ApiKey | System | Anonymous
_ACTORS: dict[str, type[Actor]] = {
    "user": User,
    "api_key": ApiKey,
    "system": System,
    "anonymous": Anonymous,
}


@dataclass(frozen=True, slots=True)
class AuditEntry(Record):
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
    seq: int
    timestamp: str
    actor: Actor
    event: str
    payload: dict[str, Any]
    prev_hash: str
    hash: str
    signature: str

    def __post_init__(self) -> None:
        self._convert("id", _to_uuid, "a UUID")
        self._convert("org_id", _to_uuid, "a UUID")
        self._convert("seq", _to_seq, "an integer from 0")
        self._convert("timestamp", _to_text, "text")
        self._convert("actor", _to_actor, f"an actor, of a type of {', '.join(_ACTORS)}")
        self._convert("event", _to_text, "text")
        self._convert("payload", _to_payload, "a dict with text keys")
        for name, digits in (("prev_hash", 64), ("hash", 64), ("signature", 128)):
            self._convert(
                name, _matching(f"[0-9a-f]{{{digits}}}"), f"{digits} lower-case hex digits"
            )


@dataclass(frozen=True, slots=True, repr=False)
class TipAnchor(Record):
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

    seq: int
    hash: str

    def __post_init__(self) -> None:
        self._convert("seq", _to_seq, "an integer from 0")
        self._convert("hash", _matching("[0-9a-f]{64}"), "64 lower-case hex digits")

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


def _matching(pattern: str) -> Callable[[Any], object]:
    """Return a converter that accepts only text that the pattern matches as a whole."""

    def check(value: Any) -> object:
        if re.fullmatch(pattern, value, re.ASCII) is None:
            raise ValueError
        return value

    return check


def _to_uuid(value: Any) -> UUID:
    if isinstance(value, UUID):
        return value
    uuid = UUID(value)
    if value.lower() not in (str(uuid), uuid.hex, uuid.urn, f"{{{uuid}}}"):
        raise ValueError
    return uuid


def _to_seq(value: Any) -> int:
    seq = index(value)
    if not 0 <= seq < 2**63:
        raise ValueError
    return seq


def _to_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _to_payload(value: Any) -> dict[str, Any]:
    if not all(isinstance(key, str) for key in value.keys()):  # noqa: SIM118 (fails for lists)
        raise TypeError
    return dict(value)


def _to_actor(value: Any) -> Actor:
    if isinstance(value, Actor):
        return value
    return _ACTORS[value["type"]](**value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, UUID):
        return str(value)
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value
