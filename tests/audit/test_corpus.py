"""The library and the standalone verifier both give the verdicts of the corpus."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.audit.chains import KEY, chain, entry, exported
from tests.audit.corpus import BAD, Case, cases, lines, read
from tests.audit.test_jsonl import LINE, NO_ENTRIES, NO_PREAMBLES
from tests.paths import VECTORS
from ttplan.audit import standalone
from ttplan.audit.jsonl import read_chain
from ttplan.audit.keys import ed25519
from ttplan.audit.verify.chain import verify_chain, verify_chain_with_anchor
from ttplan.audit.verify.file import check_preamble
from ttplan.audit.verify.options import SignatureScope
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import ChainError, InputError
from ttplan.model.stored_entry import KEY_ROTATED

CORPUS = read()
SCRIPT = Path(standalone.__file__)


def library(case: Case, signatures: SignatureScope = "all") -> str:
    """The verdict of the library, as the corpus writes verdicts."""
    try:
        preamble, records = read_chain(io.BytesIO(case.data))
        entries = check_preamble(preamble, records, "the chain")
        if case.anchor is None:
            return f"verified {verify_chain(entries, case.key, signatures=signatures).entries}"
        anchor = TipAnchor.parse(case.anchor)
        verified = verify_chain_with_anchor(entries, case.key, anchor, signatures=signatures)
        return f"verified {verified.entries}"
    except ChainError as error:
        return f"{type(error).__name__} {error.index}"
    except InputError:
        return BAD


def one_file(case: Case) -> str:
    """The verdict of the standalone verifier."""
    try:
        return f"verified {standalone.verify(io.BytesIO(case.data), case.key, case.anchor)[0]}"
    except standalone.Broken as error:
        return f"{error.args[0]} {error.args[1]}"
    except (ValueError, TypeError, RecursionError):
        return BAD


def test_corpus_file_is_current() -> None:
    assert read() == cases()
    assert len(CORPUS) > 90


@pytest.mark.parametrize("name", CORPUS)
def test_library_gives_the_verdict(name: str) -> None:
    assert library(CORPUS[name]) == CORPUS[name].verdict


@pytest.mark.parametrize("name", CORPUS)
def test_standalone_verifier_gives_the_verdict(name: str) -> None:
    assert one_file(CORPUS[name]) == CORPUS[name].verdict


def test_standalone_refuses_the_same_entries_and_preambles() -> None:
    for good, changes in ((LINE + b"\n", NO_ENTRIES), (exported(chain(1)), NO_PREAMBLES)):
        assert one_file(Case(good, "")) == "verified 1"
        assert [
            new for old, new, _ in changes if one_file(Case(good.replace(old, new, 1), "")) != BAD
        ] == []
    key = KEY.public_key.hex
    for text in (key[:32] + " " + key[32:], key[:-1], key + "00", "x" * 64):
        assert library(Case(LINE, "", text)) == one_file(Case(LINE, "", text)) == BAD


def test_invalid_rotation_as_second_entry_is_equivocation() -> None:
    entries = chain(4)
    case = Case(lines([*entries, entry(TipAnchor(2, entries[2].hash), event=KEY_ROTATED)]), "")
    assert library(case) == one_file(case) == "Equivocation 4"


def test_standalone_refuses_a_line_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    data = lines(chain(3))
    longest = max(map(len, io.BytesIO(data)))
    for limit, verdict in ((longest, "verified 3"), (longest - 1, BAD)):
        monkeypatch.setattr(standalone, "MAX_LINE", limit)
        assert one_file(Case(data, "")) == verdict


def test_standalone_is_short_and_independent() -> None:
    text = SCRIPT.read_text()
    assert len(text.splitlines()) < 265
    assert "ttplan" not in text.replace("ttplan.audit.key-rotation.v1", "")
    assert standalone.SMALL == ed25519.SMALL_ORDER


def run_script(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *arguments], capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_standalone_runs_alone_and_prints_its_verdict(tmp_path: Path) -> None:
    file = tmp_path / "chain.jsonl"
    entries = chain(3)
    file.write_bytes(exported(entries))
    tip = f"2:{entries[2].hash}"
    assert run_script(str(file), KEY.public_key.hex) == (0, f"VERIFIED: 3 entries, ends at {tip}\n")
    assert run_script(str(file), KEY.public_key.hex, tip)[0] == 0
    assert run_script(str(file), KEY.public_key.hex, "2:" + "ab" * 32) == (
        1,
        "BROKEN: TruncatedChain at entry 3\n",
    )
    file.write_bytes(CORPUS["payload-changed"].data)
    assert run_script(str(file), KEY.public_key.hex) == (1, "BROKEN: HashMismatch at entry 2\n")
    for arguments in (
        (str(file),),
        (),
        (str(file), "ab"),
        (str(tmp_path / "none"), KEY.public_key.hex),
    ):
        code, output = run_script(*arguments)
        assert (code, output[:10]) == (2, "BAD INPUT:")
        assert "Traceback" not in output


def test_ecosystem_chain_verifies_with_both() -> None:
    data = (VECTORS / "chains" / "tt-telemetry.jsonl").read_bytes()
    case = Case(data, "", json.loads(data.split(b"\n")[0])["verifying_key"])
    assert library(case) == one_file(case)
    assert library(case).startswith("verified ")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(CORPUS)), st.data())
def test_both_agree_on_any_damaged_file(name: str, data: st.DataObject) -> None:
    case = CORPUS[name]
    content = bytearray(case.data)
    for _ in range(data.draw(st.integers(1, 3))):
        if not content:
            break
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["flip", "drop", "insert"]))
        if kind == "flip":
            content[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "drop":
            del content[place : place + data.draw(st.integers(1, 80))]
        else:
            content[place:place] = data.draw(
                st.sampled_from([b" ", b"\n", b'"', b"0", b"e+1", b"\\u0041", b"{}", b"\xff"])
            )
    changed = case._replace(data=bytes(content))
    assert library(changed) == one_file(changed)


@pytest.mark.slow
def test_every_bit_flip_of_a_small_chain_is_detected_by_both() -> None:
    good = exported(chain(2))
    start = good.index(b"\n") + 1  # nothing signs the preamble, and nothing is taken from it
    for bit in range(start * 8, len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        case = Case(bytes(flipped), "")
        verdict = library(case)
        assert not verdict.startswith("verified"), flipped
        assert one_file(case) == verdict
