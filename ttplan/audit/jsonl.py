"""A chain as JSON lines: a preamble, then one entry a line. Reading is strict; what it lets through is what was signed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from io import BytesIO
from itertools import chain, islice
from typing import Any, BinaryIO, Generic, NamedTuple, NoReturn, Self, TypeVar
from uuid import UUID

import orjson

from ttplan.audit.canonical_line import claimed_seq, parse_canonical_line
from ttplan.audit.entries import normalize_timestamp, to_record
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.strict_json import parse_json
from ttplan.audit.verify.segment import Segment, count_entries
from ttplan.model.audit import AuditEntry, StoredEntry
from ttplan.model.errors import InputError

MAX_LINE = 16 * 2**20
"""The longest line, in bytes, that is read."""
BLOCK_BYTES = 2**20
"""How many bytes of lines are taken at once."""
ENTRY_KEYS = (
    "id",
    "org_id",
    "seq",
    "timestamp",
    "actor",
    "event",
    "payload",
    "prev_hash",
    "hash",
    "signature",
)
_BODY_KEYS = ("actor", "event", "id", "org_id", "payload", "seq")
_PREAMBLE_KEYS = ("meta", "verifying_key", "org_id", "entry_count")
_ACTOR_KEYS = {"user": "user_id", "api_key": "key_id", "system": None, "anonymous": None}
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{64}", re.ASCII)


T = TypeVar("T")
E = TypeVar("E", bound=StoredEntry | Segment)


class ChainReader(Generic[T]):
    """What is read of a file, streamed; the file is closed with it."""

    def __init__(self, items: Generator[T, None, None], file: _Lines) -> None:
        self._items = items
        self._file = file

    def __iter__(self) -> Iterator[T]:
        return self._items

    def __next__(self) -> T:
        return next(self._items)

    def close(self) -> None:
        """Read no more, and close the file."""
        self._items.close()
        self._file.close()


class Preamble(NamedTuple):
    """What an exported chain says of itself. None of it is signed."""

    verifying_key: str
    org_id: UUID
    entry_count: int


def write_chain(
    file: BinaryIO,
    entries: Iterable[AuditEntry | StoredEntry],
    *,
    verifying_key: VerifyingKey,
    org_id: UUID,
    entry_count: int,
) -> None:
    """Write a preamble and the entries, one a line, as the ecosystem's own export does."""
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
    """A record as its line: the entry's fields in the ecosystem's order, the payload's keys sorted, the time in `Z`."""
    body = orjson.loads(record.body)
    stamp = str(body["timestamp"]).removesuffix("+00:00") + "Z"
    return _line(body, stamp, record.prev_hash, record.hash, record.signature)


def read_chain(
    file: str | os.PathLike[str] | BinaryIO, *, max_line: int = MAX_LINE, since: int = 0
) -> tuple[Preamble | None, ChainReader[StoredEntry]]:
    """The preamble, where there is one, and the entries, streamed; the file, even one that is passed in, is closed with them.

    Lines before the first entry whose seq is at least `since` are passed over, and most of them not even read as entries; where
    there is none, the last entry is given.

    Raises InputError, naming file and line, for a missing or empty file, a line that is cut off or too long, and whatever is
    not exactly an entry: another key, a key twice, a number, id or time that is not in its one spelling.
    """
    name, preamble, first, lines = _begin(file, max_line)
    return preamble, ChainReader(_records(name, first, lines, since), lines)


class LineBlock(NamedTuple):
    """Whole lines of a chain's file, as they are in it."""

    file: str
    lines_before: int
    data: bytes
    max_line: int

    def records(self) -> Generator[StoredEntry, None, None]:
        """Its entries, as `read_chain` reads them."""
        return _records(
            self.file,
            None,
            _Lines(BytesIO(self.data), self.file, self.max_line, self.lines_before),
            0,
        )


def read_blocks(
    file: str | os.PathLike[str] | BinaryIO, *, max_line: int = MAX_LINE, since: int = 0
) -> tuple[Preamble | None, ChainReader[StoredEntry | LineBlock]]:
    """`read_chain`, with nearly all entries in pieces of many lines that nobody has read yet. Raises the same errors, those of
    lines where a piece's records are read."""
    name, preamble, first, lines = _begin(file, max_line)
    return preamble, ChainReader(_pieces(name, first, lines, since), lines)


def parse_entry(line: bytes, name: str) -> StoredEntry:
    """One entry by itself, as `read_chain` reads it. Raises InputError, naming where it is from."""
    return _record(_Line(name, 1, line))


class _Line(NamedTuple):
    file: str
    number: int
    text: bytes

    def refuse(self, problem: str) -> NoReturn:
        raise InputError(f"{self.file}, line {self.number}: {problem}")


def _begin(
    file: str | os.PathLike[str] | BinaryIO, max_line: int
) -> tuple[str, Preamble | None, tuple[int, bytes] | None, _Lines]:
    """A file's name, its preamble, else its first line that is not blank, and the lines after it."""
    if isinstance(file, str | os.PathLike):
        name = os.fspath(file)
        try:
            opened: BinaryIO = open(name, "rb")  # noqa: SIM115 - closed when the last record was read
        except OSError as error:
            raise InputError(
                f"{name} cannot be read: {error.strerror}; expected a chain as JSON lines"
            ) from None
    else:
        name, opened = str(getattr(file, "name", "the chain")), file
    lines = _Lines(opened, name, max_line)
    first = next(lines, None)
    if first is None:
        raise InputError(
            f"{name} is empty; expected a chain as JSON lines, as `ttplan export` writes it"
        )
    try:
        preamble = _preamble(name, *first)
    except InputError:
        lines.close()
        raise
    return name, preamble, first if preamble is None else None, lines


class _Lines:
    """Lines that are not blank, with their numbers. Only a line feed ends one, so nothing inside a text can. The file is closed
    at its end, and where it cannot be read on."""

    def __init__(self, file: BinaryIO, name: str, max_line: int, before: int = 0) -> None:
        self._file = file
        self._name = name
        self._max_line = max_line
        self._number = before
        self._ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, bytes]:
        while raw := self._read(self._file.readline, self._max_line + 1):
            self._number += 1
            if len(raw) > self._max_line:
                self.close()
                _Line(self._name, self._number, raw).refuse(
                    f"longer than {self._max_line:,} bytes; expected one entry a line"
                )
            if not raw.isspace() or raw.strip(b" \t\r\n"):
                return self._number, raw[:-1] if raw[-1:] == b"\n" else raw
        self.close()
        raise StopIteration

    def piece(self) -> LineBlock | None:
        """The next lines, blank ones too, of some `BLOCK_BYTES` bytes; None where there are no more."""
        data = self._read(self._file.read, BLOCK_BYTES)
        if data and not data.endswith(b"\n"):
            data += self._read(
                self._file.readline, self._max_line + 1
            )  # of a longer line so much that it is seen to be one
        if not data:
            self.close()
            return None
        before = self._number
        self._number += data.count(b"\n")
        return LineBlock(self._name, before, data, self._max_line)

    def close(self) -> None:
        """Close the file."""
        self._ended = True
        self._file.close()

    def _read(self, read: Callable[[int], bytes], most: int) -> bytes:
        if self._ended:
            return b""
        try:
            return read(most)
        except OSError as error:
            self.close()
            raise InputError(
                f"{self._name} cannot be read: {error.strerror}; expected a chain as JSON lines"
            ) from None


def _pieces(
    name: str, first: tuple[int, bytes] | None, lines: _Lines, since: int
) -> Generator[StoredEntry | LineBlock, None, None]:
    with closing(_records(name, first, lines, since)) as records, closing(lines):
        if first is not None or since:
            yield from islice(records, 1)
        while (piece := lines.piece()) is not None:
            yield piece


def _records(
    name: str, first: tuple[int, bytes] | None, rest: _Lines, since: int
) -> Generator[StoredEntry, None, None]:
    passed_over = None
    with closing(rest):
        for number, text in rest if first is None else chain((first,), rest):
            if since:
                seq = claimed_seq(text)
                if (_record(_Line(name, number, text)).seq if seq is None else seq) < since:
                    passed_over = number, text
                    continue
                since = 0
            yield parse_canonical_line(text) or _record(_Line(name, number, text))
        if (
            since and passed_over is not None
        ):  # the chain is over: where it ended, its last entry says
            yield _record(_Line(name, *passed_over))


def _record(line: _Line) -> StoredEntry:
    """The entry of a line in any spelling. One that equals its own re-encoding is canonical throughout; others are parsed with
    care."""
    try:
        fields = orjson.loads(line.text)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict) or not _is_entry(fields) or _rewritten(fields) != line.text:
        fields = _parse_strictly(line)
    stamp = normalize_timestamp(fields["timestamp"])
    # What was parsed from JSON is JSON: no NaN to look for, as `canonical_json` would.
    try:
        body = orjson.dumps(
            {name: fields[name] for name in _BODY_KEYS} | {"timestamp": stamp},
            option=orjson.OPT_SORT_KEYS,
        )
    except TypeError:  # the payload alone can be written, and one level more cannot
        line.refuse("nests too deep; expected at most 250 levels")
    return StoredEntry(
        fields["org_id"],
        fields["seq"],
        fields["prev_hash"],
        fields["hash"],
        fields["signature"],
        body,
    )


def _is_entry(fields: dict[str, Any]) -> bool:
    return _entry_fault(fields) is None


def _entry_fault(fields: dict[str, Any]) -> str | None:
    """What keeps a parsed line from being an entry, None where it is one. The hex digits are for verification to judge."""
    if fields.keys() != set(ENTRY_KEYS):
        return _keys_fault("an entry", fields, ENTRY_KEYS)
    for name in ("id", "org_id", "timestamp", "event", "prev_hash", "hash", "signature"):
        if not isinstance(fields[name], str):
            return f"{name} is no text; expected text"
    for name in ("id", "org_id"):
        if not _UUID.fullmatch(fields[name]):
            return (
                f"{name} is {fields[name][:60]!r}; expected a UUID in lower case with its hyphens"
            )
    if type(fields["seq"]) is not int or not 0 <= fields["seq"] < 2**63:
        return f"seq is {str(fields['seq'])[:30]}; expected a whole number from 0"
    if normalize_timestamp(fields["timestamp"]) is None:
        return f"timestamp is {fields['timestamp'][:60]!r}; expected UTC such as 2026-05-01T12:00:00Z with 0, 3, 6 or 9 digits"
    if not isinstance(fields["payload"], dict):
        return "payload is no object; expected a JSON object"
    return _actor_fault(fields["actor"])


def _actor_fault(actor: object) -> str | None:
    if (
        not isinstance(actor, dict)
        or not isinstance(actor.get("type"), str)
        or actor["type"] not in _ACTOR_KEYS
    ):
        return f"actor is not one; expected an object whose type is one of {', '.join(_ACTOR_KEYS)}"
    name = _ACTOR_KEYS[actor["type"]]
    expected = ("type",) if name is None else ("type", name)
    if actor.keys() != set(expected):
        return _keys_fault("the actor", actor, expected)
    if name is not None and not (isinstance(actor[name], str) and _UUID.fullmatch(actor[name])):
        return f"the actor's {name} is no UUID; expected one in lower case with its hyphens"
    return None


def _keys_fault(what: str, found: dict[str, Any], expected: tuple[str, ...]) -> str:
    extra = [key for key in found if key not in expected]
    missing = [key for key in expected if key not in found]
    if extra:
        return f"{what} has the key {extra[0][:60]!r}, which nothing signs; expected only {', '.join(expected)}"
    return f"{what} lacks {', '.join(missing)}; expected exactly {', '.join(expected)}"


def _line(body: dict[str, Any], stamp: str, prev_hash: str, digest: str, signature: str) -> bytes:
    actor = body["actor"]
    name = _ACTOR_KEYS[actor["type"]]
    return b"".join(
        (
            orjson.dumps(
                {"id": body["id"], "org_id": body["org_id"], "seq": body["seq"], "timestamp": stamp}
            )[:-1],
            b',"actor":',
            orjson.dumps(
                {"type": actor["type"]}
                if name is None
                else {"type": actor["type"], name: actor[name]}
            ),
            b',"event":',
            orjson.dumps(body["event"]),
            b',"payload":',
            orjson.dumps(body["payload"], option=orjson.OPT_SORT_KEYS),
            b",",
            orjson.dumps({"prev_hash": prev_hash, "hash": digest, "signature": signature})[1:],
        )
    )


def _rewritten(fields: dict[str, Any]) -> bytes | None:
    try:
        return _line(
            fields, fields["timestamp"], fields["prev_hash"], fields["hash"], fields["signature"]
        )
    except TypeError:
        return None


def _parse_strictly(line: _Line) -> dict[str, Any]:
    """The slow path: white space, another order of keys or another spelling of text are fine, anything ambiguous is not."""
    fields = _parse_json(line)
    if not isinstance(fields, dict):
        line.refuse("expected one entry, a JSON object")
    fault = _entry_fault(fields)
    if fault is not None:
        line.refuse(fault)
    return fields


def _parse_json(line: _Line) -> Any:
    try:
        return parse_json(line.text)
    except InputError as error:
        line.refuse(str(error))


def _preamble(file: str, number: int, text: bytes) -> Preamble | None:
    """The first line as a preamble; None where it is not meant as one."""
    line = _Line(file, number, text)
    try:
        if not isinstance(fields := orjson.loads(text), dict) or "meta" not in fields:
            return None
    except orjson.JSONDecodeError:
        return None
    fields = _parse_json(line)
    if fields.keys() != set(_PREAMBLE_KEYS):
        line.refuse(_keys_fault("the preamble", fields, _PREAMBLE_KEYS))
    key, org, count = fields["verifying_key"], fields["org_id"], fields["entry_count"]
    if fields["meta"] is not True:
        line.refuse("meta is not true; expected a preamble")
    if not (isinstance(key, str) and _HEX64.fullmatch(key)):
        line.refuse("verifying_key is not 64 lower-case hex digits; expected a public key")
    if not (isinstance(org, str) and _UUID.fullmatch(org)):
        line.refuse("org_id is no UUID; expected one in lower case with its hyphens")
    if type(count) is not int or count < 0:
        line.refuse("entry_count is no whole number from 0")
    return Preamble(key, UUID(org), count)


def check_preamble(
    preamble: Preamble | None, entries: Iterable[E], name: str, *, since: int = 0
) -> Iterator[E]:
    """The entries, as many as the preamble says and of its organisation; `since` as in `read_chain`.

    Raises InputError where they are not.
    """
    count = first = 0
    for entry in entries:
        if preamble is not None and count == 0:
            if entry.org_id != str(preamble.org_id):
                raise InputError(
                    f"{name}: its preamble speaks of {preamble.org_id}, its entries of {entry.org_id}"
                )
            first = entry.seq if since else 0
        count += count_entries(entry)
        yield entry
    if preamble is not None and (count or not since) and first + count != preamble.entry_count:
        raise InputError(
            f"{name}: its preamble speaks of {preamble.entry_count:,} entries, but it has {first + count:,}; "
            "was it cut off? Export it again"
        )
