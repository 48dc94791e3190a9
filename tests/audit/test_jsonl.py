"""Chains as JSON lines: compatible with the ecosystem, and strict about unsigned content."""

from __future__ import annotations

import io
import json
from pathlib import Path

import blake3
import pytest

from tests.audit.chains import KEY, ORG, altered, chain, entry, exported
from tests.paths import VECTORS
from tests.support.scale import SCALE
from ttplan.audit.entries import to_record
from ttplan.audit.jsonl import parse_entry, read_chain, write_chain
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.audit.verify.chain import verify_chain
from ttplan.audit.verify.file import check_preamble
from ttplan.model.audit import StoredEntry
from ttplan.model.errors import BadSignature, ChainError, InputError, TtplanError

PUBLIC = KEY.public_key


def read(data: bytes) -> list[StoredEntry]:
    """All records of an export, checked against its preamble."""
    preamble, records = read_chain(io.BytesIO(data))
    return list(check_preamble(preamble, records, "the chain"))


def test_written_chain_is_read_back() -> None:
    entries = chain(12)
    preamble, records = read_chain(io.BytesIO(exported(entries)))
    assert preamble is not None
    assert (preamble.verifying_key, preamble.org_id, preamble.entry_count) == (PUBLIC.hex, ORG, 12)
    assert list(records) == [to_record(e) for e in entries]


def test_records_are_written_like_entries() -> None:
    entries = chain(3)
    file = io.BytesIO()
    write_chain(file, map(to_record, entries), verifying_key=PUBLIC, org_id=ORG, entry_count=3)
    assert file.getvalue() == exported(entries)


def test_lines_match_the_ecosystem() -> None:
    entries = chain(2)
    lines = exported(entries).split(b"\n")
    assert lines[0] == (
        b'{"meta":true,"verifying_key":"'
        + PUBLIC.hex.encode()
        + b'","org_id":"00000000-0000-0000-0000-000000000001","entry_count":2}'
    )
    assert lines[1] == (
        b'{"id":"00000000-0000-0000-0000-0000000003e8","org_id":"00000000-0000-0000-0000-000000000001","seq":0,'
        b'"timestamp":"2026-05-01T12:00:00Z","actor":{"type":"user","user_id":"00000000-0000-0000-0000-000000000007"},'
        b'"event":"plan.applied","payload":{"n":[1,1e-6,-0.0,null],'
        b'"note":"Zo\xc3\xab \xf0\x9f\x98\x80",'
        b'"plan_id":"00000000-0000-0000-0000-000000000000","projected_savings_usd":0.0},'
        b'"prev_hash":"'
        + b"0" * 64
        + b'","hash":"'
        + entries[0].hash.encode()
        + b'","signature":"'
        + entries[0].signature.encode()
        + b'"}'
    )
    assert b'"timestamp":"2026-05-01T12:00:01.120Z"' in lines[2]


def test_chain_without_preamble_and_with_blank_lines_is_read() -> None:
    data = exported(chain(3)).split(b"\n", 1)[1]
    assert len(read(data)) == 3
    assert len(read(b"\n \r\n" + data.replace(b"\n", b"\n\n"))) == 3


def test_white_space_order_and_escapes_change_nothing() -> None:
    entries = chain(3)
    loose = b"".join(
        json.dumps(
            dict(reversed(json.loads(line).items())), indent=None, separators=(" , ", " : ")
        ).encode()
        + b"\r\n"
        for line in exported(entries).split(b"\n")[1:-1]
    )
    # json.dumps spells 1e-6 as 1e-06, which is not canonical.
    loose = loose.replace(b"1e-06", b"1e-6")
    assert read(loose) == [to_record(e) for e in entries]


def test_largest_integers_are_read_in_any_order_of_keys() -> None:
    made = entry(None, payload={"n": [2**64 - 1, -(2**63)]})
    line = json.dumps(dict(reversed(json.loads(exported([made]).split(b"\n")[1]).items()))).encode()
    assert read(line) == [to_record(made)]


def test_legacy_exponents_are_read() -> None:
    modern = entry(None, payload={"x": 1e16})
    body = to_record(modern).body.replace(b"1e+16", b"1e16")
    digest = blake3.blake3(bytes(32) + body)
    older = altered(modern, hash=digest.hexdigest(), signature=KEY.sign(digest.digest()).hex())
    line = exported([older]).replace(b"1e+16", b"1e16")
    assert verify_chain(read(line), PUBLIC).entries == 1


def test_nanoseconds_are_kept() -> None:
    base = to_record(entry(None))
    body = base.body.replace(b"12:00:00+00:00", b"12:00:00.123456789+00:00")
    digest = blake3.blake3(bytes(32) + body)
    signed = base._replace(
        body=body, hash=digest.hexdigest(), signature=KEY.sign(digest.digest()).hex()
    )
    file = exported([entry(None)]).replace(base.hash.encode(), signed.hash.encode())
    file = file.replace(base.signature.encode(), signed.signature.encode()).replace(
        b"12:00:00Z", b"12:00:00.123456789Z"
    )
    assert read(file) == [signed]
    assert verify_chain(read(file), PUBLIC).entries == 1


LINE = exported(chain(1)).split(b"\n")[1]


NO_ENTRIES = [
    (b'"seq":0', b'"seq":0,"note":"x"', "the key 'note', which nothing signs"),
    (b'"seq":0,', b"", "lacks seq"),
    (b'"seq":0', b'"seq":0,"seq":0', "the key 'seq' appears twice"),
    (b'"n":[1', b'"n":[{"a":1,"a":1}', "the key 'a' appears twice"),
    (b'"type":"user"', b'"type":"user","name":"x"', "the key 'name', which nothing signs"),
    (b'"type":"user"', b'"type":"root"', "actor is invalid"),
    (
        b'"actor":{"type":"user","user_id":"00000000-0000-0000-0000-000000000007"}',
        b'"actor":"system"',
        "actor is invalid",
    ),
    (b'"user_id":"00000000-', b'"user_id":"{0000000-', "user_id is not a UUID"),
    (b'"seq":0', b'"seq":0.0', "seq is 0.0; expected an integer"),
    (b'"seq":0', b'"seq":true', "seq is True"),
    (b'"seq":0', b'"seq":-1', "seq is -1"),
    (b'"seq":0', b'"seq":9223372036854775808', "seq is 9223372036854775808"),
    (b'"seq":0', b'"seq":00', "not JSON"),
    (b'"seq":0', b'"seq":-0', "not in canonical form"),
    (
        b'"n":[1',
        b'"n":[18446744073709551616',
        r"value\.payload\.n\[0\] is 18446744073709551616; .* of 64 bits",
    ),
    (
        b'"n":[1',
        b'"n":[-9223372036854775809',
        "is -9223372036854775809; expected an integer of 64 bits",
    ),
    (b'"n":[1', b'"n":[' + b"9" * 21, "exceeds 64 bits"),
    (b'"n":[1', b'"n":[' + b"9" * 5000, "exceeds 64 bits"),
    (b'"n":[1', b'"n":[1.50', "not in canonical form; expected 1.5"),
    (b'"n":[1', b'"n":[1E5', "not in canonical form"),
    (b'"n":[1', b'"n":[NaN', "NaN is not JSON"),
    (b'"n":[1', b'"n":[1e999', "not in canonical form|finite"),
    (b'"n":[1', b'"n":["\\ud800"', "lone surrogate"),
    (b'"n":[1', b'"n":["\xff"', "not UTF-8"),
    (b'"n":[1', b'"n":[' + b"[" * 20000 + b"]" * 20000, "nests too deep"),
    (b'"n":[1', b'"n":[' + b"[" * 400 + b"]" * 400, "nests too deep"),
    (b'"n":[1', b'"n":[' + b"[" * 252 + b"]" * 252, "nests too deep"),
    (b"12:00:00Z", b"12:00:00", "timestamp is"),
    (b"12:00:00Z", b"12:00:00.1Z", "timestamp is"),
    (b"12:00:00Z", b"14:00:00+02:00", "timestamp is"),
    (b"2026-05-01", b"2026-02-30", "timestamp is"),
    (b"2026-05-01", "２026-05-01".encode(), "timestamp is"),
    (
        b'"id":"00000000-0000-0000-0000-0000000003e8"',
        b'"id":"00000000-0000-0000-0000-0000000003E8"',
        "id is",
    ),
    (
        b'"id":"00000000-0000-0000-0000-0000000003e8"',
        b'"id":"{00000000-0000-0000-0000-0000000003e8}"',
        "id is",
    ),
    (b'"event":"plan.applied"', b'"event":null', "event is not text"),
    (b'"payload":{', b'"payload":[{', "not JSON"),
]
"""Changes that make LINE an invalid entry, and the error of each."""


@pytest.mark.parametrize(("old", "new", "message"), NO_ENTRIES)
def test_line_that_is_not_exactly_an_entry_is_refused(old: bytes, new: bytes, message: str) -> None:
    assert old in LINE
    with pytest.raises(InputError, match=message) as caught:
        read(exported([])[:0] + LINE.replace(old, new, 1) + b"\n")
    assert "line 1" in str(caught.value)


NO_PREAMBLES = [
    (b'"meta":true', b'"meta":1', "meta is not true"),
    (b'"meta":true', b'"meta":true,"x":1', "the key 'x'"),
    (b'"entry_count":1', b'"entry_count":2', "announces 2 entries, but the file has 1"),
    (b'"entry_count":1', b'"entry_count":"1"', "entry_count is not an integer"),
    (b'"entry_count":1', b'"entry_count":true', "entry_count is not an integer"),
    (b'"entry_count":1', b'"entry_count":1.0', "entry_count is not an integer"),
    (b'"entry_count":1', b'"entry_count":-1', "entry_count is not an integer"),
    (b'"org_id":"0', b'"org_id":"{0', "org_id is not a UUID"),
    (b'"org_id":"00000000-0000-0000-0000-000000000001"', b'"org_id":1', "org_id is not a UUID"),
    (
        b'"org_id":"00000000-0000-0000-0000-000000000001","entry',
        b'"org_id":"00000000-0000-0000-0000-000000000002","entry',
        "the entries for",
    ),
    (b'"verifying_key":"d', b'"verifying_key":"D', "verifying_key is not 64"),
    (b'"verifying_key":"', b'"verifying_key":1,"x":"', "the key 'x'"),
]
"""The same for the preamble of a chain with one entry."""


@pytest.mark.parametrize(("old", "new", "message"), NO_PREAMBLES)
def test_preamble_is_strict_and_must_match(old: bytes, new: bytes, message: str) -> None:
    data = exported(chain(1))
    assert old in data
    with pytest.raises(InputError, match=message):
        read(data.replace(old, new, 1))


def test_missing_first_entries_are_missing_in_the_count() -> None:
    lines = exported(chain(5)).split(b"\n")
    with pytest.raises(
        InputError, match="announces 5 entries, but the file has 2; it may be cut off"
    ):
        read(b"\n".join([lines[0], *lines[4:]]))
    with pytest.raises(InputError, match="announces 5 entries, but the file has 0"):
        read(lines[0] + b"\n")


def test_file_cut_in_the_middle_of_a_line_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "chain.jsonl"
    path.write_bytes(exported(chain(3))[:-100])
    _, records = read_chain(path)
    with pytest.raises(InputError, match=r"chain\.jsonl, line 4: not JSON .*cut off") as caught:
        list(records)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("damage", ["a malformed line", "a missing line"])
def test_bad_signature_is_reported_before_later_damage(damage: str) -> None:
    """Signatures are checked after reading: a later bad line must not hide a forged entry."""
    entries = chain(8)
    lines = exported(entries).split(b"\n")
    lines[3] = lines[3].replace(entries[2].signature.encode(), entries[3].signature.encode())
    if damage == "a malformed line":
        lines[6] = lines[6][:-5]
    else:
        del lines[8]
    preamble, records = read_chain(io.BytesIO(b"\n".join(lines)))
    with pytest.raises(BadSignature) as caught:
        verify_chain(check_preamble(preamble, records, "the chain"), PUBLIC)
    assert caught.value.index == 2


def test_missing_and_empty_files_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_chain(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="cannot be read"):
        read_chain(tmp_path)
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    with pytest.raises(InputError, match="is empty"):
        read_chain(tmp_path / "empty.jsonl")


class Torn(io.BytesIO):
    """A file that cannot be read after its first line."""

    def readline(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().readline(size)


def test_failing_disk_is_bad_input() -> None:
    _, records = read_chain(Torn(LINE + b"\n" + LINE))
    with pytest.raises(
        InputError,
        match="the chain cannot be read: Input/output error; expected a chain as JSON lines",
    ):
        list(records)


def test_file_is_closed_after_last_record_or_first_error() -> None:
    file = io.BytesIO(exported(chain(2)))
    _, records = read_chain(file)
    next(records)
    assert not file.closed
    assert len(list(records)) == 1
    assert file.closed
    file = io.BytesIO(b'{"meta":1}\n')
    with pytest.raises(InputError, match="the preamble lacks") as caught:
        read_chain(file)
    assert caught.value.exit_code == 2
    assert file.closed


def test_single_entry_is_line_1() -> None:
    assert parse_entry(LINE, "it") == to_record(chain(1)[0])
    with pytest.raises(InputError, match=r"^it, line 1: an entry lacks id"):
        parse_entry(b"{}", "it")


def test_line_has_a_maximum_length() -> None:
    with pytest.raises(InputError, match="longer than 100 bytes"):
        read_chain(io.BytesIO(LINE), max_line=100)
    with pytest.raises(InputError, match="longer than"):
        read_chain(io.BytesIO(LINE + b"\n"), max_line=len(LINE))
    _, records = read_chain(io.BytesIO(LINE + b"\n"), max_line=len(LINE) + 1)
    assert len(list(records)) == 1


def test_only_json_white_space_is_blank() -> None:
    with pytest.raises(InputError, match="line 2: not JSON"):
        read(LINE + b"\n\x0b\n")


def test_a_chain_of_the_ecosystem_verifies() -> None:
    path = VECTORS / "chains" / "tt-telemetry.jsonl"
    preamble, records = read_chain(path)
    assert preamble is not None
    assert preamble.verifying_key == key_from_hex("33" * 32).public_key.hex
    verified = verify_chain(check_preamble(preamble, records, "theirs"), preamble.verifying_key)
    assert verified.entries == 6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_any_flipped_byte_is_reported_or_has_no_effect(part: int) -> None:
    """Every position of a chain, every single bit, and a few other bytes."""
    entries = chain(4 + 4 * SCALE)
    data = exported(entries)
    good = [to_record(e) for e in entries]
    unnoticed = []
    for position in range(part, len(data), 4):
        for byte in {data[position] ^ (1 << bit) for bit in range(8)} | set(b' \n"0'):
            if byte == data[position]:
                continue
            flipped = data[:position] + bytes([byte]) + data[position + 1 :]
            try:
                preamble, records = read_chain(io.BytesIO(flipped))
                records_read = list(check_preamble(preamble, records, "it"))
                key = PUBLIC if preamble is None else preamble.verifying_key
                verify_chain(records_read, key, signatures="tip")
            except TtplanError as error:
                assert str(error)  # noqa: PT017 - which of the many errors does not matter
                continue
            if records_read != good:
                unnoticed.append((position, byte, records_read))
    # Only a signature before the last can differ unnoticed with "tip"; "all" finds it.
    for position, _, records_read in unnoticed:
        assert b'"signature":"' in data[max(0, position - 150) : position]
        with pytest.raises(ChainError):
            verify_chain(records_read, PUBLIC)
