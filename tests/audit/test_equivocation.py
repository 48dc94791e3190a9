"""Evidence of two histories: a file that convicts the key's holder and nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.audit.chains import KEY, OTHER_KEY, chain, entry, report_on
from tests.audit.test_rotation import extend, rotate, tip_of
from ttplan.audit.entries import to_record
from ttplan.audit.equivocation import check_evidence, find_equivocation, format_evidence
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.audit.verify.chain import verify_chain
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import BadRotation, Equivocation, InputError, ProofError

OTHER_KEY_TOO = key_from_hex("33" * 32)
ENTRIES = chain(4)
FORK = entry(TipAnchor(2, ENTRIES[2].hash), payload={"other": True})


def evidence(**changes: Any) -> bytes:
    return orjson.dumps(
        json.loads(format_evidence(to_record(ENTRIES[3]), to_record(FORK), KEY.public_key))
        | changes
    )


def test_evidence_of_a_fork_proves_it() -> None:
    error = find_equivocation(ENTRIES, [*ENTRIES[:3], FORK], KEY.public_key)
    assert error is not None
    of_records = find_equivocation(
        map(to_record, ENTRIES), map(to_record, [*ENTRIES[:3], FORK]), KEY.public_key
    )
    assert of_records is not None
    assert of_records.evidence == error.evidence
    checked = check_evidence(error.evidence, "fork.json", KEY.public_key)
    assert (checked.seq, checked.hashes) == (3, (ENTRIES[3].hash, FORK.hash))


def test_report_passes_on_the_evidence(tmp_path: Path) -> None:
    kept: list[bytes] = []
    report = report_on([*ENTRIES, FORK], KEY.public_key, on_fork=kept.append)
    assert report.first_bad is not None
    assert report.first_bad.error == "Equivocation"
    assert check_evidence(kept[0], "fork.json", KEY.public_key).seq == 3
    assert report_on(ENTRIES, KEY.public_key, on_fork=kept.append).ok
    assert len(kept) == 1


def test_fork_after_a_rotation_convicts_the_new_key() -> None:
    common = rotate(extend([], KEY, 2), KEY, OTHER_KEY)
    branch = extend(common, OTHER_KEY, 1)
    other_branch = [*common, entry(tip_of(common), key=OTHER_KEY, payload={"other": True})]
    error = find_equivocation(branch, other_branch, KEY.public_key)
    assert error is not None
    assert error.seq == 3
    assert check_evidence(error.evidence, "fork.json", OTHER_KEY.public_key).seq == 3
    with pytest.raises(Equivocation) as caught:
        verify_chain([*branch, other_branch[-1]], KEY.public_key)
    assert caught.value.evidence == error.evidence
    with pytest.raises(ProofError, match=f"is about the key {OTHER_KEY.public_key.hex}"):
        check_evidence(error.evidence, "fork.json", KEY.public_key)


def test_chains_of_different_lengths_agree_where_they_overlap() -> None:
    common = extend(rotate(extend([], KEY, 2), KEY, OTHER_KEY), OTHER_KEY, 2)
    for branch, other_branch in ((common, common[:3]), (common[:3], common), (common, [])):
        assert find_equivocation(branch, other_branch, KEY.public_key) is None


def test_only_shared_and_signed_rotations_are_followed() -> None:
    start = extend([], KEY, 2)
    stolen = [*start, rotate(start, OTHER_KEY, OTHER_KEY_TOO)[2]]
    for common, key in ((stolen, OTHER_KEY_TOO), (extend(start, KEY, 1), OTHER_KEY)):
        branch = extend(common, key, 1)
        other_branch = [*common, entry(tip_of(common), key=key, payload={"other": True})]
        assert find_equivocation(branch, other_branch, KEY.public_key) is None
    handed = rotate(start, KEY, OTHER_KEY)
    back = rotate(rotate(handed, OTHER_KEY, OTHER_KEY_TOO), OTHER_KEY_TOO, OTHER_KEY)
    with pytest.raises(BadRotation, match="has signed this chain before"):
        find_equivocation(back, back, KEY.public_key)


def test_evidence_has_a_maximum_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = evidence()
    monkeypatch.setattr("ttplan.audit.equivocation.MAX_EVIDENCE", len(data))
    check_evidence(data, "fork.json", KEY.public_key)
    with pytest.raises(InputError, match=f"^fork.json has more than {len(data):,} bytes"):
        check_evidence(data + b" ", "fork.json", KEY.public_key)


def test_evidence_that_proves_nothing_is_refused() -> None:
    first, second = json.loads(evidence())["entries"]
    for entries in (
        [first, first],
        [first, second | {"event": "x"}],
        [first, second | {"signature": "00" * 64}],
    ):
        with pytest.raises(ProofError, match="proves nothing"):
            check_evidence(evidence(entries=entries), "fork.json", KEY.public_key)
    for changes, message in (
        ({"entries": [first]}, "not a list of two"),
        ({"entries": [first, second, second]}, "not a list of two"),
        ({"entries": {"a": first, "b": second}}, "not a list of two"),
        ({"format": "x"}, "is not evidence of a fork"),
        ({"more": 1}, "is not evidence of a fork"),
        ({"entries": [first, {}]}, "entry 1, line 1: an entry lacks"),
    ):
        with pytest.raises(InputError, match=message):
            check_evidence(evidence(**changes), "fork.json", KEY.public_key)
    with pytest.raises(InputError, match=r"^fork.json: not JSON"):
        check_evidence(b"{", "fork.json", KEY.public_key)
