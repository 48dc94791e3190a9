#!/usr/bin/env python3
"""Verify an exported audit chain: python verify_chain.py CHAIN.jsonl PUBLIC_KEY_HEX [SEQ:HASH]

PUBLIC_KEY_HEX is the key that the chain began with, SEQ:HASH an anchor where it has to end; both from elsewhere than the file.
Prints one line and exits 0 verified, 1 broken, 2 bad input. An entry's hash is BLAKE3(previous hash, canonical JSON of its body),
its signature Ed25519 over that hash. Needs only cryptography, blake3 and orjson: read it before you trust it.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache, partial
from typing import Any

import blake3
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

BODY = ("actor", "event", "id", "org_id", "payload", "seq", "timestamp")
ACTORS = {
    "user": {"type", "user_id"},
    "api_key": {"type", "key_id"},
    "system": {"type"},
    "anonymous": {"type"},
}
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
older = partial(
    re.compile(rb'"(?:[^"\\]|\\.)*"|e\+').sub, lambda m: b"e" if m[0] == b"e+" else m[0]
)  # 1e16 for 1e+16
HEX = {digits: re.compile(rf"[0-9a-f]{{{digits}}}", re.ASCII) for digits in (64, 128)}
STAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{3}|\d{6}|\d{9}))?(?:Z|\+00:00)", re.ASCII
)
MAX_LINE, P = 16 * 2**20, 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826  # the y of a point of order 8
SMALL = {
    (y | sign).to_bytes(32, "little")
    for y in (0, 1, P - 1, P, P + 1, Y8, P - Y8)
    for sign in (0, 1 << 255)
}


class Broken(Exception): ...  # the check that failed, and the 0-based index of the first bad entry


def need(good: object, problem: str) -> bool:
    if not good:
        raise ValueError(problem)
    return True


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs) if need(len(dict(pairs)) == len(pairs), "a key stands twice") else {}


def number(text: str) -> Any:
    value = float(text) if set(text) & set(".eE") else int(text[:30])
    need(
        text.encode() in (orjson.dumps(value), older(orjson.dumps(value))),
        f"the number {text[:40]} has another spelling",
    )
    return value


def check_entry(e: dict[str, Any]) -> dict[str, Any]:
    """An entry has exactly its keys, each in its one spelling; its hex digits are judged later."""
    need(
        e.keys() == {*BODY, "prev_hash", "hash", "signature"},
        "a line has not exactly the keys of an entry",
    )
    need(
        all(isinstance(e[k], str) for k in e.keys() - {"seq", "actor", "payload"}),
        "a field is no text",
    )
    need(
        type(e["seq"]) is int and 0 <= e["seq"] < 2**63 and isinstance(e["payload"], dict),
        "seq or payload is none",
    )
    actor = e["actor"] if isinstance(e["actor"], dict) else {}
    need(actor and actor.keys() == ACTORS.get(str(actor.get("type"))), "an actor is none")
    need(
        all(
            UUID.fullmatch(str(one)) for one in {**actor, "type": e["id"], "": e["org_id"]}.values()
        ),
        "an id is no UUID",
    )
    need(STAMP.fullmatch(e["timestamp"]), "a timestamp is no moment in UTC")
    moment = datetime.fromisoformat(STAMP.sub(r"\1", e["timestamp"])).isoformat()
    fraction = re.sub(
        r"(000)+\Z", "", STAMP.sub(r"\2", e["timestamp"])
    )  # inside the hash no zeros in groups of three, and +00:00
    return e | {"timestamp": moment + ("." + fraction if fraction else "") + "+00:00"}


@cache
def load_key(text: str) -> Ed25519PublicKey:
    """A public key, strictly: OpenSSL takes some for which anybody can sign."""
    need(HEX[64].fullmatch(text.lower()), "the key is not 64 hex digits")
    y = int.from_bytes(bytes.fromhex(text), "little") & ~(1 << 255)
    square = (y * y - 1) * pow(-121665 * pow(121666, -1, P) * y * y + 1, -1, P) % P
    good = bytes.fromhex(text) not in SMALL and y < P and pow(square, P // 2, P) == 1
    need(good, "the key is of small order, not canonical or no point")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def signed(key: str, signature: str, message: bytes) -> bool:
    try:
        load_key(key).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return bytes.fromhex(signature)[:32] not in SMALL


def checks(
    e: dict[str, Any], last: dict[str, Any], seq: int, keys: list[str]
) -> Iterator[tuple[str, object]]:
    """The checks of an entry, in their order, each with its verdict."""
    yield "ForeignOrg", e["org_id"] == last.get("org_id", e["org_id"])
    yield "SeqGap", e["seq"] == seq
    yield "HexError", HEX[64].fullmatch(str(e["prev_hash"]))
    yield "BrokenChain", e["prev_hash"] == last.get("hash", "0" * 64)
    yield "HexError", HEX[64].fullmatch(str(e["hash"]))
    body, before = (
        orjson.dumps({k: e[k] for k in BODY}, option=orjson.OPT_SORT_KEYS),
        bytes.fromhex(e["prev_hash"]),
    )
    yield (
        "HashMismatch",
        e["hash"] in (blake3.blake3(before + one).hexdigest() for one in (body, older(body))),
    )
    yield "HexError", HEX[128].fullmatch(str(e["signature"]))
    yield "BadSignature", signed(keys[-1], e["signature"], bytes.fromhex(e["hash"]))
    yield "BadRotation", e["event"] != "audit.key_rotated" or hands_over(e, keys)


def hands_over(e: dict[str, Any], keys: list[str]) -> bool:
    """Whether an entry hands over to a new key, which has signed for this very place."""
    p, new, proof = (
        e["payload"],
        str(e["payload"].get("new_key")),
        str(e["payload"].get("new_key_signature")),
    )
    said = {
        "new_key": new,
        "old_key": keys[-1],
        "org_id": e["org_id"],
        "prev_hash": e["prev_hash"],
        "seq": e["seq"],
    }
    message = b"ttplan.audit.key-rotation.v1\n" + orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    shape = (
        p.keys() == {"old_key", "new_key", "new_key_signature"}
        and HEX[64].fullmatch(new)
        and HEX[128].fullmatch(proof)
    )
    return (
        bool(shape) and p["old_key"] == keys[-1] and new not in keys and signed(new, proof, message)
    )


def verify(lines: Iterable[bytes], key_hex: str, anchor: str | None = None) -> tuple[int, str]:
    """How many entries were verified, and the last as an anchor. Raises Broken, and ValueError or TypeError for bad input."""
    signer, keys, last, preamble, index = (
        key_hex,
        [key_hex.lower()],
        dict[str, Any](),
        dict[str, Any](),
        0,
    )
    for line in (
        a
        for a in lines
        if need(load_key(key_hex) and len(a) <= MAX_LINE, "a long line") and a.strip(b" \t\r\n")
    ):
        e = json.loads(
            line.decode(),
            object_pairs_hook=unique,
            parse_int=number,
            parse_float=number,
            parse_constant=number,
        )
        need(
            isinstance(e, dict) and orjson.dumps(e), "a line is no object"
        )  # orjson refuses lone surrogates
        if "meta" in e and not last and not preamble:
            preamble, kept = e, {"meta", "verifying_key", "org_id", "entry_count"}
            need(
                e.keys() == kept and HEX[64].fullmatch(str(e["verifying_key"])),
                "the preamble is none, or has no key",
            )
            need(
                e["meta"] is True and UUID.fullmatch(str(e["org_id"])),
                "the preamble has no organisation",
            )
            need(
                type(e["entry_count"]) is int and e["entry_count"] >= 0, "the preamble has no count"
            )
            continue
        e = check_entry(e)
        need(
            last or e["org_id"] == preamble.get("org_id", e["org_id"]),
            "the preamble is of another organisation",
        )
        for name, good in checks(e, last, index, keys):
            if not good:  # two well-signed entries for one place are worse than a gap
                twin = (
                    name == "SeqGap" and e["seq"] == last.get("seq") and e["hash"] != last["hash"]
                )
                seen = checks(e, last | {"hash": e["prev_hash"]}, e["seq"], [signer])
                name = (
                    "Equivocation"
                    if twin and all(ok or check == "BadRotation" for check, ok in seen)
                    else name
                )
                raise Broken(name, index)
        last, signer = e, keys[-1]
        if e["event"] == "audit.key_rotated":
            keys.append(e["payload"]["new_key"])
        index += 1
    need(
        (last or preamble) and index == preamble.get("entry_count", index),
        "no entries, or not as many as the preamble says",
    )
    if anchor not in (None, tip := f"{last['seq']}:{last['hash']}" if last else "empty"):
        raise Broken("TruncatedChain", index)
    return index, tip


if __name__ == "__main__":
    try:
        with open(sys.argv[1], "rb") as file:
            found = verify(
                iter(lambda: file.readline(MAX_LINE + 1), b""),
                *(text.strip() for text in sys.argv[2:4]),
            )
        print("VERIFIED: {} entries, ends at {}".format(*found))
    except Broken as error:
        sys.exit(f"BROKEN: {error.args[0]} at entry {error.args[1]}")
    except (IndexError, OSError, TypeError, ValueError, RecursionError) as error:
        print(f"BAD INPUT: {error}")
        sys.exit(2)
