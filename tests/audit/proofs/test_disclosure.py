"""Disclosure of a plan's routes: the checkpoint binds every part of the file."""

from __future__ import annotations

from typing import Any, get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.chains import KEY, OTHER_KEY, entry, flip_each_bit
from tests.audit.test_rotation import tip_of
from ttplan.audit.blinding import BlindingUse, commit, derive_blinding, find_blinding
from ttplan.audit.c2sp.tlog import sign_tree
from ttplan.audit.entries import to_record
from ttplan.audit.proofs.disclosure import (
    Disclosure,
    check_disclosure,
    disclose,
    format_disclosure,
    parse_disclosure,
)
from ttplan.model.audit import AuditEntry
from ttplan.model.errors import BadSignature, ChainError, InputError, ProofError

ROUTES: list[Any] = [{"name": "a", "priority": 1, "when": {"x": None}}, {"name": "b", "max": 0.5}]
NONCES = [f"{i:02x}" * 32 for i in range(1, 6)]


def make_entries() -> list[AuditEntry]:
    """Entries that commit to the same routes, each with its own nonce."""
    entries: list[AuditEntry] = []
    for nonce in NONCES:
        entries.append(entry(tip_of(entries), payload={"routes_commitment": commit(nonce, ROUTES)}))
    return entries


ENTRIES = make_entries()
HASHES = [entry.hash for entry in ENTRIES]
CHECKPOINT = sign_tree("example.com/log", HASHES, KEY)


def make_disclosure(seq: int = 2) -> Disclosure:
    return disclose(ROUTES, NONCES[seq], to_record(ENTRIES[seq]), HASHES, CHECKPOINT)


def holds(data: bytes) -> bool:
    try:
        check_disclosure(parse_disclosure(data, "d.json"), CHECKPOINT, KEY.public_key)
    except (InputError, ProofError, ChainError):
        return False
    return True


def test_each_entry_opens_with_its_own_nonce() -> None:
    for seq in range(5):
        data = format_disclosure(make_disclosure(seq))
        assert holds(data)
        assert parse_disclosure(data, "d.json") == make_disclosure(seq)
        assert not any(nonce.encode() in data for i, nonce in enumerate(NONCES) if i != seq)
    with pytest.raises(ProofError, match="the routes and the nonce give the commitment"):
        disclose(ROUTES, NONCES[1], to_record(ENTRIES[2]), HASHES, CHECKPOINT)


def test_reordered_or_retyped_routes_do_not_match() -> None:
    fields = orjson.loads(format_disclosure(make_disclosure()))
    for routes in (ROUTES[::-1], ROUTES[:1], [*ROUTES, {}], [ROUTES[0], {"name": "b", "max": 1}]):
        assert not holds(orjson.dumps(fields | {"routes": routes}))
    with pytest.raises(InputError, match=r"^d.json: routes is not a JSON array"):
        parse_disclosure(orjson.dumps(fields | {"routes": {"0": ROUTES[0]}}), "d.json")


def test_disclosure_is_for_one_checkpoint_and_chain() -> None:
    later = sign_tree("example.com/log", [*HASHES, "ab" * 32], KEY)
    with pytest.raises(
        ProofError, match="is for a checkpoint of 5 entries, the provided one is of 6"
    ):
        check_disclosure(make_disclosure(), later, KEY.public_key)
    other = sign_tree("example.com/log", ["ab" * 32, *HASHES[1:]], KEY)
    with pytest.raises(ProofError, match="do not give the checkpoint's root"):
        check_disclosure(make_disclosure(), other, KEY.public_key)
    with pytest.raises(ProofError, match="they were changed"):
        disclose(ROUTES, NONCES[2], to_record(ENTRIES[2]), HASHES, other)


def test_entry_without_a_commitment_cannot_be_opened() -> None:
    plain = entry(None, payload={})
    checkpoint = sign_tree("example.com/log", [plain.hash], KEY)
    with pytest.raises(ProofError, match="entry 0 commits to no routes"):
        disclose([], NONCES[0], to_record(plain), [plain.hash], checkpoint)


def test_the_entry_must_be_signed_with_the_key() -> None:
    forged = entry(None, key=OTHER_KEY, payload={"routes_commitment": commit(NONCES[0], ROUTES)})
    checkpoint = sign_tree("example.com/log", [forged.hash], KEY)
    disclosure = disclose(ROUTES, NONCES[0], to_record(forged), [forged.hash], checkpoint)
    check_disclosure(disclosure, checkpoint, OTHER_KEY.public_key)
    with pytest.raises(BadSignature, match="entry 0"):
        check_disclosure(disclosure, checkpoint, KEY.public_key)


def test_a_disclosed_blinding_opens_nothing_else() -> None:
    nonce, uses = NONCES[0], get_args(BlindingUse)
    blindings = {derive_blinding(nonce, use) for use in uses}
    assert len(blindings | {nonce}) == len(uses) + 1
    stated = commit(derive_blinding(nonce, "routes applied"), ROUTES)
    signed = entry(None, payload={"routes_commitment": stated})
    checkpoint = sign_tree("example.com/log", [signed.hash], KEY)
    disclosure = disclose(ROUTES, nonce, to_record(signed), [signed.hash], checkpoint)
    check_disclosure(disclosure, checkpoint, KEY.public_key)
    assert disclosure.nonce == derive_blinding(nonce, "routes applied")
    assert nonce.encode() not in format_disclosure(disclosure)
    # The reader of the disclosure guesses right, and cannot confirm it.
    restored = commit(derive_blinding(nonce, "routes restored"), ROUTES)
    assert find_blinding(disclosure.nonce, "routes restored", ROUTES, restored) is None
    assert find_blinding(nonce, "routes restored", ROUTES, restored) is not None


def test_the_derivation_is_fixed() -> None:
    # Stored entries depend on it.
    expected = "dfa246ed32836cb57cae9e4be6ab7f7f014617c208454acefb535d0613a0b0af"
    assert derive_blinding("01" * 32, "routes applied") == expected


def test_every_bit_flip_is_detected() -> None:
    data = format_disclosure(make_disclosure())
    original = orjson.loads(data)
    for _, flipped in flip_each_bit(data):
        try:
            same = orjson.loads(flipped) == original
        except orjson.JSONDecodeError:
            same = False
        if not same:
            assert not holds(flipped), flipped


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^d.json"):
        parse_disclosure(data, "d.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"format": "ttplan.disclosure.v2"},
            "is not a disclosure; expected exactly format, routes, nonce",
        ),
        ({"more": 1}, "is not a disclosure"),
        ({"nonce": "AB" * 32}, "nonce is invalid"),
        ({"nonce": 5}, "nonce is invalid"),
        ({"leaf_count": 0}, "leaf_count is 0; expected a whole number from 1"),
        ({"leaf_count": True}, "leaf_count is True"),
        ({"leaf_count": 5.0}, "leaf_count is 5.0"),
        ({"leaf_count": 2**63}, "leaf_count is 9223372036854775808"),
        ({"path": {}}, "path is not a list of at most 63 hashes"),
        ({"path": ["ab" * 32] * 64}, "path is not a list of at most 63 hashes"),
        ({"path": ["ab"]}, "path is not a list of at most 63 hashes"),
        ({"entry": {}}, "its entry, line 1: an entry lacks id"),
        ({"leaf_index": 3}, "leaf_index is 3; expected the entry's seq, 2"),
        ({"leaf_index": 2.0}, "leaf_index is 2.0; expected the entry's seq, 2"),
    ],
)
def test_invalid_disclosure_error_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^d.json.*{message}"):
        parse_disclosure(
            orjson.dumps(orjson.loads(format_disclosure(make_disclosure())) | changes), "d.json"
        )


def test_largest_and_smallest_tree_are_accepted() -> None:
    fields = orjson.loads(format_disclosure(make_disclosure()))
    parsed = parse_disclosure(
        orjson.dumps(fields | {"leaf_count": 2**63 - 1, "path": ["ab" * 32] * 63}), "d.json"
    )
    assert (parsed.leaf_count, len(parsed.path)) == (2**63 - 1, 63)
    assert (
        parse_disclosure(orjson.dumps(fields | {"leaf_count": 1, "path": []}), "d.json").leaf_count
        == 1
    )


def test_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = format_disclosure(make_disclosure())
    monkeypatch.setattr("ttplan.audit.proofs.disclosure.MAX_DISCLOSURE", len(data))
    assert holds(data)
    with pytest.raises(InputError, match="has more than"):
        parse_disclosure(data + b" ", "d.json")
