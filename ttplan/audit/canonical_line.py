"""Take an entry's line apart by byte positions: much faster than parsing all of it.

Only a line that is canonical throughout is accepted; for any other the result is None, and `jsonl`
parses it strictly. This is safe because the payload is a single JSON object: it parses as one and
equals its re-encoding. So the text before and after it holds the entry's own keys, in order, each
once.
"""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Sequence
from datetime import date
from functools import lru_cache

import orjson

from ttplan.model.stored_entry import StoredEntry

_UUID = rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3}){0,2})?"
_ACTOR = rb'"type":"(?:(?:system|anonymous)"|user","user_id":"%b"|api_key","key_id":"%b")' % (
    _UUID,
    _UUID,
)
_HEAD = re.compile(
    rb'\{"id":"(%b)","org_id":"(%b)","seq":(0|[1-9][0-9]{0,17}),'
    rb'"timestamp":"([0-9]{4}-[0-9]{2}-[0-9]{2}T%b)Z",'
    rb'"actor":\{(%b)\},"event":("[ !#-\[\]-~]*"),"payload":' % (_UUID, _UUID, _TIME, _ACTOR)
)
_CLAIMED_SEQ = re.compile(rb'\{"id":"[^"\\]{36}","org_id":"[^"\\]{36}","seq":(0|[1-9][0-9]{0,17}),')
_DATE_LENGTH, _WHOLE_SECONDS_LENGTH = len("2026-05-01"), len("2026-05-01T12:00:00")
TIME_KEY = b',"timestamp":"'
"""Before the time in an entry's body, which ends with it."""
_API_KEY = b'"type":"api_key",'
_NAMES = (b',"prev_hash":"', b'","hash":"', b'","signature":"')
_HEX_DIGITS = b"0123456789abcdef"
_SIGNATURE_LENGTH = 128 + 2
_TAIL_LENGTH = len(b"".join(_NAMES)) + 64 + 64 + _SIGNATURE_LENGTH
_HASH_AT = len(_NAMES[0]) + 64
_SIGNATURE_AT = _HASH_AT + len(_NAMES[1]) + 64
_TAIL_WITHOUT_HEX = (b"".join(_NAMES) + b'"}').translate(None, _HEX_DIGITS)
"""An entry's last three fields without all hex digits, including those in the names."""
_MAX_BRACKETS = 200
"""A payload with more may nest too deep, and is parsed strictly."""


def parse_canonical_line(line: bytes) -> StoredEntry | None:
    """Return the entry of a line without its line feed; None if the line is not canonical."""
    fields, tail = parse_body(line), line[-_TAIL_LENGTH:]
    if fields is None or not _is_tail(tail):
        return None
    org_id, seq, _, body = fields
    text = tail.decode()
    prev_hash = text[len(_NAMES[0]) : _HASH_AT]
    digest = text[_HASH_AT + len(_NAMES[1]) : _SIGNATURE_AT]
    signature = text[-_SIGNATURE_LENGTH:-2]
    return StoredEntry(org_id.decode(), int(seq), prev_hash, digest, signature, body)


def parse_body(line: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Return a line's organisation, seq, event (quoted) and the body that is hashed.

    Returns None if the line is not canonical up to its last three fields. Of those only the length
    is known: `extract_signatures` checks them.
    """
    head = _HEAD.match(line)
    if head is None:
        return None
    payload = line[head.end() : -_TAIL_LENGTH]
    if (
        len(payload) > 2 * _MAX_BRACKETS
        and payload.count(b"{") + payload.count(b"[") > _MAX_BRACKETS
    ):
        return None
    entry_id, org_id, seq, timestamp, actor, event = head.groups()
    try:
        # Its first and last byte make it an object. As it equals its re-encoding, no key appears
        # twice and no number is written differently.
        if (
            payload[:1] != b"{"
            or orjson.dumps(orjson.loads(payload), option=orjson.OPT_SORT_KEYS) != payload
        ):
            return None
    except (TypeError, ValueError):
        return None
    if not _is_date(timestamp[:_DATE_LENGTH]):
        return None
    if len(timestamp) > _WHOLE_SECONDS_LENGTH and timestamp.endswith(b"000"):
        return None
    if actor.startswith(_API_KEY):
        actor = actor[len(_API_KEY) :] + b"," + _API_KEY[:-1]
    body = (
        b'{"actor":{%b},"event":%b,"id":"%b","org_id":"%b","payload":%b,"seq":%b,'
        b'"timestamp":"%b+00:00"}' % (actor, event, entry_id, org_id, payload, seq, timestamp)
    )
    return org_id, seq, event, body


@lru_cache(maxsize=1_000)  # entries of one day follow each other
def _is_date(text: bytes) -> bool:
    try:
        date.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def extract_signatures(lines: Sequence[bytes], digests: Sequence[bytes]) -> bytes | None:
    """Return the signatures, 64 bytes each, of lines whose last three fields have these digests.

    There is one digest (32 bytes) more than there are lines: each is the hash of its line and the
    `prev_hash` of the next. Returns None if a line ends differently.
    """
    hashes = b"".join(digests).hex().encode()
    tails = [line[-_TAIL_LENGTH:] for line in lines]
    signatures = b"".join([tail[-_SIGNATURE_LENGTH:-2] for tail in tails])
    expected = [
        b"%b%b%b%b%b"
        % (_NAMES[0], hashes[at : at + 64], _NAMES[1], hashes[at + 64 : at + 128], _NAMES[2])
        for at in range(0, 64 * len(tails), 64)
    ]
    if [tail[:-_SIGNATURE_LENGTH] for tail in tails] != expected or not all(
        tail.endswith(b'"}') for tail in tails
    ):
        return None
    return None if signatures.translate(None, _HEX_DIGITS) else unhexlify(signatures)


def _is_tail(tail: bytes) -> bool:
    """Whether these are the last three fields of an entry, each with its number of hex digits."""
    return (
        tail.translate(None, _HEX_DIGITS) == _TAIL_WITHOUT_HEX
        and tail.startswith(_NAMES[0])
        and tail.startswith(_NAMES[1], _HASH_AT)
        and tail.startswith(_NAMES[2], _SIGNATURE_AT)
        and tail.endswith(b'"}')
        and len(tail) == _TAIL_LENGTH
    )


def claimed_seq(line: bytes) -> int | None:
    """Return the seq that a line claims, unchecked; None if the line does not begin canonically."""
    match = _CLAIMED_SEQ.match(line)
    return None if match is None else int(match[1])


def signed_time(body: bytes) -> bytes:
    """Return the time in an entry's body.

    Such times sort as text: all are in UTC, and `+` sorts before `.`.
    """
    return body[body.rfind(TIME_KEY) + len(TIME_KEY) : -len(b'"}')]
