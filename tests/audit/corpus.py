"""The corpus of good and bad chains with their verdicts: `python -m tests.audit.corpus` writes it.

Other implementations can use the files and verdicts, too: docs/proofs.md describes the format.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import blake3

from tests.audit.chains import ACTORS, KEY, ORG, OTHER_KEY, altered, chain, entry, exported
from tests.paths import VECTORS
from ttplan.audit.entries import GENESIS, to_record
from ttplan.audit.jsonl import format_line
from ttplan.audit.keys.key_files import SigningKey, key_from_hex
from ttplan.audit.rotation import rotation_payload
from ttplan.model.audit import AuditEntry, TipAnchor
from ttplan.model.stored_entry import KEY_ROTATED

FOLDER = VECTORS / "corpus"
BAD = "bad input"
THIRD = key_from_hex("33" * 32)
SMALL = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"


class Case(NamedTuple):
    """A chain as a file, the key and perhaps the anchor that it is verified with, and the verdict.

    The verdict is "verified <entries>", "<error> <index>" or "bad input".
    """

    data: bytes
    verdict: str
    key: str = KEY.public_key.hex
    anchor: str | None = None


def lines(entries: Sequence[AuditEntry]) -> bytes:
    """Entries as JSON lines without a preamble."""
    return b"".join(format_line(to_record(item)) + b"\n" for item in entries)


def tip(entries: Sequence[AuditEntry]) -> TipAnchor | None:
    return TipAnchor(entries[-1].seq, entries[-1].hash) if entries else None


def anchor(entries: Sequence[AuditEntry]) -> str:
    return f"{entries[-1].seq}:{entries[-1].hash}"


def changed(index: int, length: int = 5, **fields: Any) -> bytes:
    entries = chain(length)
    entries[index] = altered(entries[index], **fields)
    return lines(entries)


def replaced(old: bytes, new: bytes, length: int = 3) -> bytes:
    """A good chain's text with the first `old` replaced."""
    data = lines(chain(length))
    assert old in data, old
    return data.replace(old, new, 1)


def of_payloads(*payloads: dict[str, Any]) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for payload in payloads:
        entries.append(entry(tip(entries), payload=payload))
    return entries


def rotated(runs: Sequence[tuple[SigningKey, int]], **changes: Any) -> list[AuditEntry]:
    """Entries by each key, rotations in between; `changes` apply to the last rotation's payload."""
    entries: list[AuditEntry] = []
    for place, (key, count) in enumerate(runs):
        for _ in range(count):
            entries.append(entry(tip(entries), key=key))
        if place + 1 < len(runs):
            prev = entries[-1].hash if entries else GENESIS
            payload = rotation_payload(
                key.public_key, runs[place + 1][0], org_id=ORG, seq=len(entries), prev_hash=prev
            )
            payload |= changes if place + 2 == len(runs) else {}
            entries.append(entry(tip(entries), key=key, event=KEY_ROTATED, payload=payload))
    return entries


def older_spelling() -> bytes:
    """An entry that was hashed with `1e16` where ttplan writes `1e+16`."""
    modern = entry(None, payload={"x": 1e16, "text": "1e+16"})
    digest = blake3.blake3(bytes(32) + to_record(modern).body.replace(b":1e+16", b":1e16"))
    return lines(
        [altered(modern, hash=digest.hexdigest(), signature=KEY.sign(digest.digest()).hex())]
    )


def nanoseconds() -> list[AuditEntry]:
    """Entries as other writers make them, with 0, 3, 6 and 9 digits of a second."""
    entries: list[AuditEntry] = []
    for stamp in ("12:00:00", "12:00:00.120", "12:00:00.000007", "12:00:00.123456789"):
        made = entry(tip(entries))
        record = to_record(made)
        text = f"2026-05-01T{stamp}+00:00"
        body = record.body.replace(made.timestamp.encode(), text.encode())
        digest = blake3.blake3(bytes.fromhex(record.prev_hash) + body)
        update = {
            "timestamp": text,
            "hash": digest.hexdigest(),
            "signature": KEY.sign(digest.digest()).hex(),
        }
        entries.append(altered(made, **update))
    return entries


def forked(**changes: Any) -> bytes:
    entries = chain(4)
    return lines(
        [*entries, entry(TipAnchor(2, entries[2].hash), payload={"other": True}, **changes)]
    )


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"x": value}
    return value


FLOATS = {
    "floats": [
        1e-5,
        1e-6,
        1e16,
        1e15,
        5e-324,
        1.7976931348623157e308,
        -0.0,
        0.1,
        123456.789012,
        1e21,
    ]
}
TEXTS = {
    "\u00e9": 1,
    "z": "\u007f",
    "\uffff": "\u2028",
    "\U0001f600": '\t\n\b\f\r"\\/\u0001',
    "": None,
}
INTEGERS = {"n": [2**64 - 1, -(2**63), 0, 2**53 + 1]}


def cases() -> dict[str, Case]:
    """The corpus by name."""
    five = chain(5)
    good = rotated([(KEY, 2), (OTHER_KEY, 2), (THIRD, 1)])
    first_line = lines(five[:1])
    corpus = {
        # good
        "empty-with-preamble": Case(exported([]), "verified 0"),
        "one-entry": Case(exported(chain(1)), "verified 1"),
        "all-actors": Case(exported(chain(len(ACTORS) * 2)), f"verified {len(ACTORS) * 2}"),
        "no-preamble": Case(lines(five), "verified 5"),
        "ends-at-its-anchor": Case(lines(five), "verified 5", anchor=anchor(five)),
        "blank-lines-and-no-last-line-feed": Case(
            b"\n \t\n" + lines(five).replace(b"\n", b"\r\n\n")[:-1], "verified 5"
        ),
        "other-order-and-white-space": Case(respelled(five[0]) + lines(five[1:]), "verified 5"),
        "times-of-0-3-6-and-9-digits": Case(lines(nanoseconds()), "verified 4"),
        "float-edges": Case(lines(of_payloads(FLOATS)), "verified 1"),
        "floats-in-the-older-spelling": Case(older_spelling(), "verified 1"),
        "unicode-keys": Case(lines(of_payloads(TEXTS, {}, INTEGERS)), "verified 3"),
        "nested-120": Case(lines(of_payloads(nested(119))), "verified 1"),
        "labels-inside-texts": Case(
            lines([entry(None, event='x","org_id":"y', payload={"x": '","seq":7'})]), "verified 1"
        ),
        "rotated": Case(lines(good), "verified 7"),
        "rotated-at-once": Case(lines(rotated([(KEY, 0), (OTHER_KEY, 2)])), "verified 3"),
        "ends-with-a-rotation": Case(lines(rotated([(KEY, 2), (OTHER_KEY, 0)])), "verified 3"),
        "looks-like-a-rotation": Case(lines(of_payloads({"event": KEY_ROTATED})), "verified 1"),
        # broken
        "another-key": Case(lines(five), "BadSignature 0", key=OTHER_KEY.public_key.hex),
        "a-later-key-first": Case(lines(good), "BadSignature 0", key=THIRD.public_key.hex),
        "first-missing": Case(lines(five[1:]), "SeqGap 0"),
        "one-missing": Case(lines([*five[:2], *five[3:]]), "SeqGap 2"),
        "seq-skips-though-linked": Case(
            lines([*five[:2], entry(TipAnchor(6, five[1].hash))]), "SeqGap 2"
        ),
        "one-twice": Case(lines([*five[:2], five[1], *five[2:]]), "SeqGap 2"),
        "two-swapped": Case(lines([five[0], five[2], five[1], *five[3:]]), "SeqGap 1"),
        "tail-cut": Case(lines(five[:4]), "TruncatedChain 4", anchor=anchor(five)),
        "goes-on-after-its-anchor": Case(lines(five), "TruncatedChain 5", anchor=anchor(five[:3])),
        "another-tip": Case(lines(five), "TruncatedChain 5", anchor="4:" + "ab" * 32),
        "empty-with-an-anchor": Case(exported([]), "TruncatedChain 0", anchor=anchor(five)),
        "fork": Case(forked(), "Equivocation 4"),
        "fork-that-another-key-signed": Case(forked(key=OTHER_KEY), "SeqGap 4"),
        "fork-of-another-organisation": Case(forked(org_id=UUID(int=2)), "ForeignOrg 4"),
        "foreign-entry": Case(
            lines([*five[:3], entry(tip(five[:3]), org_id=UUID(int=2))]), "ForeignOrg 3"
        ),
        "prev-hash-changed": Case(changed(2, prev_hash="ab" * 32), "BrokenChain 2"),
        "genesis-with-a-prev-hash": Case(changed(0, prev_hash="ab" * 32), "BrokenChain 0"),
        "prev-hash-no-hex": Case(changed(2, prev_hash="AB" * 32), "HexError 2"),
        "hash-changed": Case(changed(2, hash="ab" * 32), "HashMismatch 2"),
        "hash-short": Case(changed(2, hash="ab" * 31), "HexError 2"),
        "event-changed": Case(changed(2, event="plan.reverted"), "HashMismatch 2"),
        "payload-changed": Case(changed(2, payload={}), "HashMismatch 2"),
        "time-changed": Case(changed(2, timestamp="2026-05-01T12:00:09+00:00"), "HashMismatch 2"),
        "actor-changed": Case(changed(2, actor=ACTORS[3]), "HashMismatch 2"),
        "float-one-unit-off": Case(replaced(b":1.1", b":1.1000000000000003"), "HashMismatch 1"),
        "zero-without-its-sign": Case(replaced(b"-0.0", b"0.0"), "HashMismatch 0"),
        "signature-changed": Case(changed(2, signature="00" * 64), "BadSignature 2"),
        "signature-long": Case(changed(2, signature="00" * 65), "HexError 2"),
        "signature-of-small-order-r": Case(
            changed(2, signature=SMALL + "00" * 32), "BadSignature 2"
        ),
        "two-errors": Case(
            changed(1, signature="00" * 64).replace(b'"seq":3', b'"seq":9'), "BadSignature 1"
        ),
        "rotation-by-a-thief": Case(lines([*five[:2], *stolen(five[:2])]), "BadSignature 2"),
        "old-key-after-a-rotation": Case(
            lines([*good[:3], entry(tip(good[:3]))]), "BadSignature 3"
        ),
        "rotation-with-an-extra": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1)], note="")), "BadRotation 1"
        ),
        "rotation-from-another-key": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1)], old_key=THIRD.public_key.hex)),
            "BadRotation 1",
        ),
        "rotation-without-possession": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1)], new_key=THIRD.public_key.hex)),
            "BadRotation 1",
        ),
        "rotation-to-small-order": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1)], new_key=SMALL)), "BadRotation 1"
        ),
        "rotation-back": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1), (KEY, 1)])), "BadRotation 3"
        ),
        "rotation-with-no-hex": Case(
            lines(rotated([(KEY, 1), (OTHER_KEY, 1)], new_key_signature=7)), "BadRotation 1"
        ),
        # bad input
        "nothing": Case(b"", BAD),
        "blank-lines": Case(b"\n \n", BAD),
        "no-json": Case(first_line + b"x\n", BAD),
        "cut-off": Case(lines(five)[:-40], BAD),
        "not-utf-8": Case(replaced(b"Zo\xc3\xab", b"Zo\xeb"), BAD),
        "byte-order-mark": Case(b"\xef\xbb\xbf" + first_line, BAD),
        "extra-key": Case(replaced(b'"event":', b'"more":1,"event":'), BAD),
        "missing-key": Case(replaced(b'"event":"plan.applied",', b""), BAD),
        "repeated-key": Case(replaced(b'"event":', b'"event":"x","event":'), BAD),
        "repeated-key-inside": Case(replaced(b'"n":[', b'"n":[],"n":['), BAD),
        "escaped-repeated-key": Case(replaced(b'"n":[', b'"\\u006e":[],"n":['), BAD),
        "lone-surrogate": Case(replaced(b"Zo\xc3\xab", b"\\ud800"), BAD),
        "number-with-a-plus": Case(replaced(b"1e-6", b"1e-06"), BAD),
        "number-with-zeros": Case(replaced(b"[1,", b"[1.00,"), BAD),
        "whole-number-with-an-exponent": Case(replaced(b"[1,", b"[1e0,"), BAD),
        "number-past-64-bits": Case(replaced(b"[1,", b"[18446744073709551616,"), BAD),
        "number-past-a-float": Case(replaced(b"[1,", b"[1e999,"), BAD),
        "nan": Case(replaced(b"[1,", b"[NaN,"), BAD),
        "seq-as-a-float": Case(replaced(b'"seq":0', b'"seq":0.0'), BAD),
        "seq-as-text": Case(replaced(b'"seq":0', b'"seq":"0"'), BAD),
        "seq-negative": Case(replaced(b'"seq":0', b'"seq":-1'), BAD),
        "id-in-upper-case": Case(replaced(b"-0000000003e8", b"-0000000003E8"), BAD),
        "time-with-a-space": Case(replaced(b"01T12", b"01 12"), BAD),
        "time-with-another-zone": Case(replaced(b"00Z", b"00+02:00"), BAD),
        "time-with-two-digits": Case(replaced(b"00Z", b"00.12Z"), BAD),
        "day-that-there-is-not": Case(replaced(b"2026-05-01T", b"2026-02-30T"), BAD),
        "actor-of-no-kind": Case(replaced(b'"type":"user"', b'"type":"robot"'), BAD),
        "actor-with-an-extra": Case(replaced(b'"type":"user"', b'"name":"x","type":"user"'), BAD),
        "actor-with-no-uuid": Case(replaced(b"-000000000007", b"-00000000000x"), BAD),
        "payload-as-a-list": Case(
            replaced(b'"payload":{', b'"payload":[{').replace(b'},"prev', b'}],"prev', 1), BAD
        ),
        "an-array": Case(b"[]\n", BAD),
        "preamble-with-an-extra": Case(
            exported(five).replace(b'"meta":true', b'"meta":true,"x":1', 1), BAD
        ),
        "preamble-not-meant": Case(exported(five).replace(b'"meta":true', b'"meta":false', 1), BAD),
        "preamble-counts-more": Case(
            exported(five).replace(b'"entry_count":5', b'"entry_count":6'), BAD
        ),
        "preamble-counts-fewer": Case(
            exported(five).replace(b'"entry_count":5', b'"entry_count":4'), BAD
        ),
        "preamble-of-another-organisation": Case(
            exported(five).replace(str(ORG).encode(), str(UUID(int=2)).encode(), 1), BAD
        ),
        "preamble-later": Case(lines(five[:1]) + exported(five[1:]), BAD),
        "key-of-small-order": Case(lines(five), BAD, key=SMALL),
        "key-not-canonical": Case(lines(five), BAD, key="f0" + "ff" * 30 + "7f"),
        "key-not-on-the-curve": Case(lines(five), BAD, key="02" + "00" * 31),
        "key-short": Case(lines(five), BAD, key="ab" * 31),
    }
    return corpus


def respelled(item: AuditEntry) -> bytes:
    """An entry's line with its keys in another order, white space, and escapes that JSON allows."""
    fields = json.loads(format_line(to_record(item)))
    text = json.dumps(dict(reversed(fields.items())), indent=None, separators=(" , ", " : "))
    return text.replace("1e-06", "1e-6").encode() + b"\n"


def stolen(entries: list[AuditEntry]) -> list[AuditEntry]:
    """A rotation that only the new key signed."""
    payload = rotation_payload(
        KEY.public_key, OTHER_KEY, org_id=ORG, seq=len(entries), prev_hash=entries[-1].hash
    )
    return [entry(tip(entries), key=OTHER_KEY, event=KEY_ROTATED, payload=payload)]


def read() -> dict[str, Case]:
    """The corpus from its file."""
    stored = json.loads(gzip.decompress((FOLDER / "chains.json.gz").read_bytes()))
    return {
        row["name"]: Case(bytes.fromhex(row["file_hex"]), row["verdict"], row["key"], row["anchor"])
        for row in stored
    }


def write_corpus(made: Callable[[], dict[str, Case]] = cases) -> None:
    """Write the corpus to its file."""
    rows = [
        {
            "name": name,
            "key": case.key,
            "anchor": case.anchor,
            "verdict": case.verdict,
            "file_hex": case.data.hex(),
        }
        for name, case in made().items()
    ]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "chains.json.gz").write_bytes(
        gzip.compress(json.dumps(rows, indent=1).encode(), mtime=0)
    )


if __name__ == "__main__":
    write_corpus()
