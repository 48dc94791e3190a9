"""The line of an entry as it is mostly written, taken apart by its places, which is much faster than parsing all of it.

Only a line that is canonical throughout is taken; of any other nothing is said, and `jsonl` parses it with care. What makes this
safe: the payload is one JSON object, since it parses as one and equals its re-encoding; so what stands before and after it are
the entry's own keys, in their order, each once.
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
_HEAD = re.compile(
    rb'\{"id":"(%b)","org_id":"(%b)","seq":(0|[1-9][0-9]{0,17}),'
    rb'"timestamp":"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{3}(?:[0-9]{3}){0,2})?)Z",'
    rb'"actor":\{("type":"(?:(?:system|anonymous)"|user","user_id":"%b"|api_key","key_id":"%b"))\},'
    rb'"event":("[ !#-\[\]-~]*"),"payload":' % (_UUID, _UUID, _UUID, _UUID)
)
_CLAIM = re.compile(rb'\{"id":"[^"\\]{36}","org_id":"[^"\\]{36}","seq":(0|[1-9][0-9]{0,17}),')
_DAY, _WHOLE_SECONDS = len("2026-05-01"), len("2026-05-01T12:00:00")
_API_KEY = b'"type":"api_key",'
_NAMES = (b',"prev_hash":"', b'","hash":"', b'","signature":"')
_HEX_DIGITS = b"0123456789abcdef"
_SIGNATURE_BYTES = 128 + 2
_TAIL_BYTES = len(b"".join(_NAMES)) + 64 + 64 + _SIGNATURE_BYTES
_HASH_AT = len(_NAMES[0]) + 64
_SIGNATURE_AT = _HASH_AT + len(_NAMES[1]) + 64
_REST = (b"".join(_NAMES) + b'"}').translate(None, _HEX_DIGITS)
"""What is left of an entry's last three fields without the letters that are hex digits, those of the names among them."""
_MOST_BRACKETS = 200
"""A payload with more may nest too deep, and is looked at with care."""


def parse_canonical_line(line: bytes) -> StoredEntry | None:
    """The entry of a line without its line feed; None where the line is not in the one spelling, be it an entry or not."""
    content, tail = parse_body(line), line[-_TAIL_BYTES:]
    if content is None or not _is_tail(tail):
        return None
    org_id, seq, _, body = content
    text = tail.decode()
    prev_hash, digest = (
        text[len(_NAMES[0]) : _HASH_AT],
        text[_HASH_AT + len(_NAMES[1]) : _SIGNATURE_AT],
    )
    return StoredEntry(
        org_id.decode(), int(seq), prev_hash, digest, text[-_SIGNATURE_BYTES:-2], body
    )


def parse_body(line: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """The organisation, the seq, the event in its quotes, and the body that is hashed, of a line without its line feed.

    None where it is not in the one spelling up to its last three fields, of which only the length is known: `extract_signatures`
    looks at those.
    """
    head = _HEAD.match(line)
    if head is None:
        return None
    payload = line[head.end() : -_TAIL_BYTES]
    if (
        len(payload) > 2 * _MOST_BRACKETS
        and payload.count(b"{") + payload.count(b"[") > _MOST_BRACKETS
    ):
        return None
    entry_id, org_id, seq, stamp, actor, event = head.groups()
    try:
        # Its first and last byte make it an object; equal to its re-encoding, no key of it stands twice, and no number differs.
        if (
            payload[:1] != b"{"
            or orjson.dumps(orjson.loads(payload), option=orjson.OPT_SORT_KEYS) != payload
        ):
            return None
    except (TypeError, ValueError):
        return None
    if not _is_day(stamp[:_DAY]) or (len(stamp) > _WHOLE_SECONDS and stamp.endswith(b"000")):
        return None
    if actor.startswith(_API_KEY):
        actor = actor[len(_API_KEY) :] + b"," + _API_KEY[:-1]
    body = (
        b'{"actor":{%b},"event":%b,"id":"%b","org_id":"%b","payload":%b,"seq":%b,"timestamp":"%b+00:00"}'
        % (
            actor,
            event,
            entry_id,
            org_id,
            payload,
            seq,
            stamp,
        )
    )
    return org_id, seq, event, body


@lru_cache(maxsize=1_000)  # entries of a day stand together
def _is_day(text: bytes) -> bool:
    try:
        date.fromisoformat(text.decode())
    except ValueError:
        return False
    return True


def extract_signatures(lines: Sequence[bytes], digests: Sequence[bytes]) -> bytes | None:
    """The signatures, 64 bytes each, of lines whose last three fields have these digests (32 bytes each), each entry's after the
    one before it: one more than there are lines. None where a line ends otherwise."""
    hashes = b"".join(digests).hex().encode()
    tails = [line[-_TAIL_BYTES:] for line in lines]
    signatures = b"".join([tail[-_SIGNATURE_BYTES:-2] for tail in tails])
    expected = [
        b"%b%b%b%b%b"
        % (_NAMES[0], hashes[at : at + 64], _NAMES[1], hashes[at + 64 : at + 128], _NAMES[2])
        for at in range(0, 64 * len(tails), 64)
    ]
    if [tail[:-_SIGNATURE_BYTES] for tail in tails] != expected or not all(
        tail.endswith(b'"}') for tail in tails
    ):
        return None
    return None if signatures.translate(None, _HEX_DIGITS) else unhexlify(signatures)


def _is_tail(tail: bytes) -> bool:
    """Whether these are the last three fields of an entry, each of so many hex digits."""
    return (
        tail.translate(None, _HEX_DIGITS) == _REST
        and tail.startswith(_NAMES[0])
        and tail.startswith(_NAMES[1], _HASH_AT)
        and tail.startswith(_NAMES[2], _SIGNATURE_AT)
        and tail.endswith(b'"}')
        and len(tail) == _TAIL_BYTES
    )


def claimed_seq(line: bytes) -> int | None:
    """The seq that a line claims, of which nothing is checked; None where the line is not in the one spelling."""
    match = _CLAIM.match(line)
    return None if match is None else int(match[1])
