#!/usr/bin/env python3
"""Verify an exported audit chain: python -I verify_chain.py CHAIN.jsonl PUBLIC_KEY_HEX [SEQ:HASH]

PUBLIC_KEY_HEX is the chain's first key. SEQ:HASH is an anchor: the entry at which the chain must
end ("empty": no entries). Get both from elsewhere than the file. The script prints one line and
exits 0 (verified), 1 (broken) or 2 (bad input, or nothing to verify). An entry's hash is
BLAKE3(previous hash, canonical JSON of its body), its signature is Ed25519 over that hash. The
script needs only cryptography, blake3 and orjson. Read it before you trust it.
"""

import sys

if __name__ == "__main__" and not sys.flags.isolated:  # a file beside it could replace a module
    print("BAD INPUT: run it as python -I, which loads no module from the folder of this script")
    sys.exit(2)

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import blake3
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_LINE = 16 * 2**20
ROTATION = "audit.key_rotated"
BODY_KEYS = {"actor", "event", "id", "org_id", "payload", "seq", "timestamp"}
ENTRY_KEYS = BODY_KEYS | {"prev_hash", "hash", "signature"}
PREAMBLE_KEYS = {"meta", "verifying_key", "org_id", "entry_count"}
ROTATION_KEYS = {"old_key", "new_key", "new_key_signature"}
ACTOR_KEYS = {
    "user": {"type", "user_id"},
    "api_key": {"type", "key_id"},
    "system": {"type"},
    "anonymous": {"type"},
}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
HEX = {digits: re.compile(rf"[0-9a-f]{{{digits}}}", re.ASCII) for digits in (64, 128)}
TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}|\d{6}|\d{9}))?(?:Z|\+00:00)", re.ASCII
)
STRING_OR_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|e\+')

P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # y of an order-8 point
SMALL = {
    (y | sign).to_bytes(32, "little")
    for y in (0, 1, P - 1, P, P + 1, Y8, P - Y8)
    for sign in (0, 1 << 255)
}


class Broken(Exception):
    """The check that failed, and the 0-based index of the first bad entry."""


def require(good: object, problem: str) -> None:
    if not good:
        raise ValueError(problem)


def dump(value: Any) -> bytes:
    """Canonical JSON. orjson refuses lone surrogates and integers beyond 64 bits."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def with_legacy_exponents(data: bytes) -> bytes:
    """Floats as they were written until the end of 2025: 1e16 for 1e+16."""
    return STRING_OR_EXPONENT.sub(lambda m: b"e" if m[0] == b"e+" else m[0], data)


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a key appears twice")
    return dict(pairs)


def canonical_number(text: str) -> Any:
    value = float(text) if set(text) & set(".eE") else int(text[:30])
    data = orjson.dumps(value)
    good = text.encode() in (data, with_legacy_exponents(data))
    require(good, f"the number {text[:40]} is not in canonical form")
    return value


def parse_line(line: bytes) -> dict[str, Any]:
    fields = json.loads(
        line.decode(),
        object_pairs_hook=unique_keys,
        parse_int=canonical_number,
        parse_float=canonical_number,
        parse_constant=canonical_number,
    )
    require(isinstance(fields, dict) and dump(fields), "a line is not an object")
    return dict(fields)


def check_preamble(fields: dict[str, Any]) -> None:
    require(fields.keys() == PREAMBLE_KEYS, "the preamble has other keys")
    require(fields["meta"] is True, "the preamble's meta is not true")
    require(HEX[64].fullmatch(str(fields["verifying_key"])), "the preamble has no key")
    require(UUID.fullmatch(str(fields["org_id"])), "the preamble has no organisation")
    count = fields["entry_count"]
    require(type(count) is int and count >= 0, "the preamble has no count")


def check_entry(e: dict[str, Any]) -> dict[str, Any]:
    """An entry has exactly its keys, in canonical form; its hex digits are checked later.

    Returns the entry with the timestamp as it is hashed: +00:00, no zeros in groups of three.
    """
    require(e.keys() == ENTRY_KEYS, "a line does not have exactly the keys of an entry")
    texts = e.keys() - {"seq", "actor", "payload"}
    require(all(isinstance(e[key], str) for key in texts), "a field is not text")
    require(type(e["seq"]) is int and 0 <= e["seq"] < 2**63, "a seq is not an integer from 0")
    require(isinstance(e["payload"], dict), "a payload is not an object")
    actor = e["actor"] if isinstance(e["actor"], dict) else {}
    require(
        actor and actor.keys() == ACTOR_KEYS.get(str(actor.get("type"))), "an actor is not valid"
    )
    ids = [e["id"], e["org_id"], *(actor[key] for key in actor.keys() - {"type"})]
    require(all(UUID.fullmatch(str(text)) for text in ids), "an id is not a UUID")
    match = TIMESTAMP.fullmatch(e["timestamp"])
    if match is None:
        raise ValueError("a timestamp is not a time in UTC")
    seconds = datetime.fromisoformat(match[1]).isoformat()
    fraction = re.sub(r"(000)+\Z", "", match[2] or "")
    return e | {"timestamp": seconds + ("." + fraction if fraction else "") + "+00:00"}


@cache
def load_key(text: str) -> Ed25519PublicKey:
    """A public key, strictly: OpenSSL accepts some for which anybody can sign."""
    require(HEX[64].fullmatch(text.lower()), "the key is not 64 hex digits")
    raw = bytes.fromhex(text)
    y = int.from_bytes(raw, "little") & ~(1 << 255)
    x_squared = (y * y - 1) * pow(-121665 * pow(121666, -1, P) * y * y + 1, -1, P) % P
    on_curve = pow(x_squared, P // 2, P) == 1
    good = raw not in SMALL and y < P and on_curve
    require(good, "the key is of small order, not canonical or not on the curve")
    return Ed25519PublicKey.from_public_bytes(raw)


def is_signed(key: str, signature: str, message: bytes) -> bool:
    try:
        load_key(key).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return bytes.fromhex(signature)[:32] not in SMALL


def checks(
    e: dict[str, Any], last: dict[str, Any], seq: int, keys: list[str]
) -> Iterator[tuple[str, object]]:
    """The checks of an entry, in order, each with its verdict."""
    yield "ForeignOrg", e["org_id"] == last.get("org_id", e["org_id"])
    yield "SeqGap", e["seq"] == seq
    yield "HexError", HEX[64].fullmatch(e["prev_hash"])
    yield "BrokenChain", e["prev_hash"] == last.get("hash", "0" * 64)
    yield "HexError", HEX[64].fullmatch(e["hash"])
    body = dump({key: e[key] for key in BODY_KEYS})
    hashes = [
        blake3.blake3(bytes.fromhex(e["prev_hash"]) + data).hexdigest()
        for data in (body, with_legacy_exponents(body))
    ]
    yield "HashMismatch", e["hash"] in hashes
    yield "HexError", HEX[128].fullmatch(e["signature"])
    yield "BadSignature", is_signed(keys[-1], e["signature"], bytes.fromhex(e["hash"]))
    yield "BadRotation", e["event"] != ROTATION or is_valid_rotation(e, keys)


def is_valid_rotation(e: dict[str, Any], keys: list[str]) -> bool:
    """Whether an entry names a new key, which signed that it takes over at this very place."""
    payload = e["payload"]
    new_key, proof = str(payload.get("new_key")), str(payload.get("new_key_signature"))
    statement = {
        "new_key": new_key,
        "old_key": keys[-1],
        "org_id": e["org_id"],
        "prev_hash": e["prev_hash"],
        "seq": e["seq"],
    }
    return (
        payload.keys() == ROTATION_KEYS
        and HEX[64].fullmatch(new_key) is not None
        and HEX[128].fullmatch(proof) is not None
        and payload["old_key"] == keys[-1]
        and new_key not in keys
        and is_signed(new_key, proof, b"ttplan.audit.key-rotation.v1\n" + dump(statement))
    )


def is_equivocation(
    e: dict[str, Any], last: dict[str, Any], failed_check: str, signer: str
) -> bool:
    """Whether an entry is a second one at the seq of `last`, well signed: worse than a gap."""
    if failed_check != "SeqGap" or e["seq"] != last.get("seq") or e["hash"] == last["hash"]:
        return False
    own_place = checks(e, last | {"hash": e["prev_hash"]}, e["seq"], [signer])
    return all(good or check == "BadRotation" for check, good in own_place)


def verify(lines: Iterable[bytes], key_hex: str, anchor: str | None = None) -> tuple[int, str]:
    """Return the number of entries and the last one as an anchor.

    Raises Broken, and ValueError or TypeError for bad input.
    """
    load_key(key_hex)
    keys, signer, count = [key_hex.lower()], key_hex, 0
    last: dict[str, Any] = {}
    preamble: dict[str, Any] = {}
    for line in lines:
        require(len(line) <= MAX_LINE, "a line is too long")
        if not line.strip(b" \t\r\n"):
            continue
        e = parse_line(line)
        if "meta" in e and not last and not preamble:
            check_preamble(e)
            preamble = e
            continue
        e = check_entry(e)
        same_org = last or e["org_id"] == preamble.get("org_id", e["org_id"])
        require(same_org, "the preamble is of another organisation")
        for check, good in checks(e, last, count, keys):
            if not good:
                twin = is_equivocation(e, last, check, signer)
                raise Broken("Equivocation" if twin else check, count)
        last, signer, count = e, keys[-1], count + 1
        if e["event"] == ROTATION:
            keys.append(e["payload"]["new_key"])
    require(last or preamble, "the file has no entries")
    require(count == preamble.get("entry_count", count), "the preamble has another count")
    tip = f"{last['seq']}:{last['hash']}" if last else "empty"
    if anchor not in (None, tip):
        raise Broken("TruncatedChain", count)
    return count, tip


def main(arguments: list[str]) -> int:
    try:
        with open(arguments[0], "rb") as file:
            lines = iter(lambda: file.readline(MAX_LINE + 1), b"")
            count, tip = verify(lines, *(text.strip() for text in arguments[1:3]))
        if count == 0 and arguments[2:3] != ["empty"]:
            print("NOTHING TO VERIFY: the chain has no entries; if that is expected, add: empty")
            return 2
        print(f"VERIFIED: {count} entries, ends at {tip}")
    except Broken as error:
        print(f"BROKEN: {error.args[0]} at entry {error.args[1]}", file=sys.stderr)
        return 1
    except (IndexError, OSError, TypeError, ValueError, RecursionError) as error:
        print(f"BAD INPUT: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
