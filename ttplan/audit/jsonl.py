"""A chain as JSON lines: a preamble, then one entry per line. Reading is strict."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO, Generic, NamedTuple, NoReturn, Self, TypeVar
from uuid import UUID

import orjson

from ttplan.audit.canonical_line import claimed_seq, parse_canonical_line
from ttplan.audit.entries import normalize_timestamp, to_record
from ttplan.audit.entry_checks import UUID_TEXT, is_hash
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.strict_json import parse_json
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

MAX_LINE = 16 * 2**20
"""The longest line, in bytes, that is read."""
BLOCK_BYTES = 2**20
"""How many bytes of lines are read at once."""
_BODY_KEYS = ("actor", "event", "id", "org_id", "payload", "seq")
ENTRY_KEYS = (
    *("id", "org_id", "seq", "timestamp", "actor", "event", "payload"),
    *("prev_hash", "hash", "signature"),
)
_PREAMBLE_KEYS = ("meta", "verifying_key", "org_id", "entry_count")
_ACTOR_KEYS = {"user": "user_id", "api_key": "key_id", "system": None, "anonymous": None}

T = TypeVar("T")
ChainFile = PathLike | BinaryIO


class Preamble(NamedTuple):
    """What the first line of an exported chain claims. None of it is signed."""

    verifying_key: str
    org_id: UUID
    entry_count: int


class ChainReader(Generic[T]):
    """Iterates over what is read from a file. Closing it closes the file."""

    def __init__(self, items: Generator[T, None, None], file: _LineReader) -> None:
        self._items = items
        self._file = file

    def __iter__(self) -> Iterator[T]:
        return self._items

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """Stop reading, and close the file."""
        self._items.close()
        self._file.close()


class LineBlock(NamedTuple):
    """Whole lines of a chain's file, not parsed yet."""

    file: str
    lines_before: int
    data: bytes
    max_line: int

    def records(self) -> Generator[StoredEntry, None, None]:
        """Parse the entries, as `read_chain` does."""
        file = _LineReader(BytesIO(self.data), self.file, self.max_line, self.lines_before)
        return _read_records(self.file, None, file, 0)


def write_chain(
    file: BinaryIO,
    entries: Iterable[AuditEntry | StoredEntry],
    *,
    verifying_key: VerifyingKey,
    org_id: UUID,
    entry_count: int,
) -> None:
    """Write a preamble and the entries, one per line, as the ecosystem's own export does."""
    preamble = {
        "meta": True,
        "verifying_key": verifying_key.hex,
        "org_id": str(org_id),
        "entry_count": entry_count,
    }
    file.write(orjson.dumps(preamble) + b"\n")
    for entry in entries:
        record = to_record(entry) if isinstance(entry, AuditEntry) else entry
        file.write(format_line(record) + b"\n")


def format_line(record: StoredEntry) -> bytes:
    """Write a record as a line: the ecosystem's order, sorted payload keys, the time with `Z`."""
    body = orjson.loads(record.body)
    timestamp = str(body["timestamp"]).removesuffix("+00:00") + "Z"
    return _format_fields(body, timestamp, record.prev_hash, record.hash, record.signature)


def read_chain(
    file: ChainFile, *, max_line: int = MAX_LINE, since: int = 0
) -> tuple[Preamble | None, ChainReader[StoredEntry]]:
    """Return the preamble, if there is one, and the entries as a stream.

    The file, even one that is passed in, is closed with the reader. Lines before the first entry
    whose seq is at least `since` are passed over, most of them without parsing; if there is no such
    entry, the last one is returned.

    Raises InputError, naming file and line, for a missing or empty file, a line that is cut off or
    too long, and anything that is not exactly an entry: an unknown key, a key twice, or a number,
    id or time that is not in its canonical form.
    """
    name, preamble, first, lines = _open(file, max_line)
    return preamble, ChainReader(_read_records(name, first, lines, since), lines)


def read_blocks(
    file: ChainFile, *, max_line: int = MAX_LINE, since: int = 0
) -> tuple[Preamble | None, ChainReader[StoredEntry | LineBlock]]:
    """Read as `read_chain` does, with nearly all entries in blocks of lines that are not parsed.

    Raises the same errors; those of a block's lines when its records are parsed.
    """
    name, preamble, first, lines = _open(file, max_line)
    return preamble, ChainReader(_read_blocks(name, first, lines, since), lines)


def parse_entry(line: bytes, name: str) -> StoredEntry:
    """Parse a single entry, as `read_chain` does. Raises InputError, which names its source."""
    return _parse_line(_Line(name, 1, line))


class _Line(NamedTuple):
    file: str
    number: int
    text: bytes

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(f"{self.file}, line {self.number}: {problem}")


class _LineReader:
    """Yields lines that are not blank, with their numbers. Only a line feed ends a line."""

    def __init__(self, file: BinaryIO, name: str, max_line: int, lines_before: int = 0) -> None:
        self._file = file
        self._name = name
        self._max_line = max_line
        self._number = lines_before
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, bytes]:
        while raw := self._read(self._file.readline, self._max_line + 1):
            self._number += 1
            if len(raw) > self._max_line:
                self.close()
                _Line(self._name, self._number, raw).refuse(
                    f"longer than {self._max_line:,} bytes; expected one entry per line"
                )
            if not raw.isspace() or raw.strip(b" \t\r\n"):
                return self._number, raw[:-1] if raw[-1:] == b"\n" else raw
        self.close()
        raise StopIteration

    def read_block(self) -> LineBlock | None:
        """Read the next lines, about `BLOCK_BYTES`, blank ones too; None at the end of the file."""
        data = self._read(self._file.read, BLOCK_BYTES)
        if data and not data.endswith(b"\n"):
            # Of a line that is too long, enough to see that it is.
            data += self._read(self._file.readline, self._max_line + 1)
        if not data:
            self.close()
            return None
        lines_before = self._number
        self._number += data.count(b"\n")
        return LineBlock(self._name, lines_before, data, self._max_line)

    def close(self) -> None:
        """Close the file."""
        self._ended = True
        self._file.close()

    def _read(self, read: Callable[[int], bytes], limit: int) -> bytes:
        if self._ended:
            return b""
        try:
            return read(limit)
        except OSError as error:
            self.close()
            raise _unreadable(self._name, error) from None


def _open(
    file: ChainFile, max_line: int
) -> tuple[str, Preamble | None, tuple[int, bytes] | None, _LineReader]:
    """Return a file's name, its preamble or else its first line, and the lines after it."""
    if isinstance(file, str | os.PathLike):
        name = os.fspath(file)
        try:
            opened: BinaryIO = open(name, "rb")  # noqa: SIM115 - closed after the last record
        except OSError as error:
            raise _unreadable(name, error) from None
    else:
        name, opened = str(getattr(file, "name", "the chain")), file
    lines = _LineReader(opened, name, max_line)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{name} is empty; expected a chain as JSON lines, as an export writes it")
    try:
        preamble = _parse_preamble(_Line(name, *first))
    except InputError:
        lines.close()
        raise
    return name, preamble, first if preamble is None else None, lines


def _unreadable(name: str, error: OSError) -> InputError:
    return InputError(f"{name} cannot be read: {error.strerror}; expected a chain as JSON lines")


def _read_blocks(
    name: str, first: tuple[int, bytes] | None, lines: _LineReader, since: int
) -> Generator[StoredEntry | LineBlock, None, None]:
    with closing(_read_records(name, first, lines, since)) as records, closing(lines):
        if first is not None or since:
            yield from islice(records, 1)
        while (block := lines.read_block()) is not None:
            yield block


def _read_records(
    name: str, first: tuple[int, bytes] | None, rest: _LineReader, since: int
) -> Generator[StoredEntry, None, None]:
    skipped = None
    with closing(rest):
        for number, text in rest if first is None else chain((first,), rest):
            if since:
                seq = claimed_seq(text)
                line = _Line(name, number, text)
                if (_parse_line(line).seq if seq is None else seq) < since:
                    skipped = line
                    continue
                since = 0
            yield parse_canonical_line(text) or _parse_line(_Line(name, number, text))
        if (
            since and skipped is not None
        ):  # the chain ends before `since`: its last entry says where
            yield _parse_line(skipped)


def _parse_line(line: _Line) -> StoredEntry:
    """Parse an entry that need not be canonical. Anything ambiguous is refused."""
    try:
        fields = orjson.loads(line.text)
    except orjson.JSONDecodeError:
        fields = None
    # A line that equals its own re-encoding needs no strict parsing.
    if (
        not isinstance(fields, dict)
        or _entry_problem(fields) is not None
        or _reformat(fields) != line.text
    ):
        fields = _parse_strictly(line)
        if not isinstance(fields, dict):
            line.refuse("expected one entry, a JSON object")
        problem = _entry_problem(fields)
        if problem is not None:
            line.refuse(problem)
    body = {name: fields[name] for name in _BODY_KEYS}
    body["timestamp"] = normalize_timestamp(fields["timestamp"])
    try:
        # What was parsed from JSON has no NaN, which `canonical_json` would look for.
        encoded = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # orjson can write the payload alone, but not one level more
        line.refuse("nests too deep; expected at most 250 levels")
    return StoredEntry(
        fields["org_id"],
        fields["seq"],
        fields["prev_hash"],
        fields["hash"],
        fields["signature"],
        encoded,
    )


def _entry_problem(fields: dict[str, Any]) -> str | None:
    """Say why parsed fields are not an entry; None if they are. Verification checks the hex."""
    if fields.keys() != set(ENTRY_KEYS):
        return _keys_problem("an entry", fields, ENTRY_KEYS)
    for name in ("id", "org_id", "timestamp", "event", "prev_hash", "hash", "signature"):
        if not isinstance(fields[name], str):
            return f"{name} is not text; expected text"
    for name in ("id", "org_id"):
        if not UUID_TEXT.fullmatch(fields[name]):
            return f"{name} is {fields[name][:60]!r}; expected a UUID in lower case with hyphens"
    if type(fields["seq"]) is not int or not 0 <= fields["seq"] < 2**63:
        return f"seq is {str(fields['seq'])[:30]}; expected an integer from 0"
    if normalize_timestamp(fields["timestamp"]) is None:
        return (
            f"timestamp is {fields['timestamp'][:60]!r}; expected UTC such as "
            "2026-05-01T12:00:00Z with 0, 3, 6 or 9 digits"
        )
    if not isinstance(fields["payload"], dict):
        return "payload is not an object; expected a JSON object"
    return _actor_problem(fields["actor"])


def _actor_problem(actor: object) -> str | None:
    if not isinstance(actor, dict) or str(actor.get("type")) not in _ACTOR_KEYS:
        types = ", ".join(_ACTOR_KEYS)
        return f"actor is invalid; expected an object whose type is one of {types}"
    name = _ACTOR_KEYS[str(actor["type"])]
    expected = ("type",) if name is None else ("type", name)
    if actor.keys() != set(expected):
        return _keys_problem("the actor", actor, expected)
    if name is not None and not (isinstance(actor[name], str) and UUID_TEXT.fullmatch(actor[name])):
        return f"the actor's {name} is not a UUID; expected one in lower case with hyphens"
    return None


def _keys_problem(what: str, fields: dict[str, Any], expected: tuple[str, ...]) -> str:
    extra = [key for key in fields if key not in expected]
    if extra:
        return (
            f"{what} has the key {extra[0][:60]!r}, which nothing signs; expected only "
            f"{', '.join(expected)}"
        )
    missing = [key for key in expected if key not in fields]
    return f"{what} lacks {', '.join(missing)}; expected exactly {', '.join(expected)}"


def _format_fields(
    body: dict[str, Any], timestamp: str, prev_hash: str, digest: str, signature: str
) -> bytes:
    head = {name: body[name] for name in ("id", "org_id", "seq")} | {"timestamp": timestamp}
    actor = {"type": body["actor"]["type"]}
    name = _ACTOR_KEYS[actor["type"]]
    if name is not None:
        actor[name] = body["actor"][name]
    tail = {"prev_hash": prev_hash, "hash": digest, "signature": signature}
    return b'%b,"actor":%b,"event":%b,"payload":%b,%b' % (
        orjson.dumps(head)[:-1],
        orjson.dumps(actor),
        orjson.dumps(body["event"]),
        orjson.dumps(body["payload"], option=orjson.OPT_SORT_KEYS),
        orjson.dumps(tail)[1:],
    )


def _reformat(fields: dict[str, Any]) -> bytes | None:
    """Write parsed fields as a line; None if they cannot be written."""
    seal = (fields[name] for name in ("timestamp", "prev_hash", "hash", "signature"))
    try:
        return _format_fields(fields, *seal)
    except TypeError:
        return None


def _parse_strictly(line: _Line) -> Any:
    try:
        return parse_json(line.text)
    except InputError as error:
        line.refuse(str(error))


def _parse_preamble(line: _Line) -> Preamble | None:
    """Parse the first line as a preamble; None if it is not meant as one."""
    try:
        if not isinstance(fields := orjson.loads(line.text), dict) or "meta" not in fields:
            return None
    except orjson.JSONDecodeError:
        return None
    fields = _parse_strictly(line)
    if fields.keys() != set(_PREAMBLE_KEYS):
        line.refuse(_keys_problem("the preamble", fields, _PREAMBLE_KEYS))
    key, org_id, count = fields["verifying_key"], fields["org_id"], fields["entry_count"]
    if fields["meta"] is not True:
        line.refuse("meta is not true; expected a preamble")
    if not is_hash(key):
        line.refuse("verifying_key is not 64 lower-case hex digits; expected a public key")
    if not (isinstance(org_id, str) and UUID_TEXT.fullmatch(org_id)):
        line.refuse("org_id is not a UUID; expected one in lower case with hyphens")
    if type(count) is not int or count < 0:
        line.refuse("entry_count is not an integer from 0")
    return Preamble(key, UUID(org_id), count)
