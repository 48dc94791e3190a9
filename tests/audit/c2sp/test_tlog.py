"""Checkpoints, tlog-proofs and witness requests: the examples of the specs, and changes to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.c2sp.test_note import LOG, SPEC_CHECKPOINT, WITNESS
from tests.audit.chains import KEY, OTHER_KEY, chain, flip_each_bit
from ttplan.audit.c2sp.checkpoint import TreeHead, format_tree_head, parse_tree_head
from ttplan.audit.c2sp.note import COSIGNATURE, check_note, make_vkey
from ttplan.audit.c2sp.tlog import (
    Checkpoint,
    add_cosignatures,
    check_log,
    check_proof,
    check_tree_covers,
    format_checkpoint,
    format_cosignatures,
    format_proof,
    format_request,
    make_witness_request,
    parse_checkpoint,
    parse_proof,
    parse_request,
    prove,
    sign_tree,
    witness,
)
from ttplan.audit.keys.key_files import key_from_hex
from ttplan.model.errors import InputError, ProofError

HASHES = [entry.hash for entry in chain(12)]
CHECKPOINT = sign_tree(LOG.name, HASHES[:9], KEY)
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
# The example of c2sp.org/tlog-witness.
SPEC_REQUEST = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501


def test_examples_of_the_specs_round_trip() -> None:
    checkpoint = parse_checkpoint(SPEC_CHECKPOINT)
    assert checkpoint.head[:2] == ("example.com/behind-the-sofa", 20852163)
    assert format_checkpoint(checkpoint) == SPEC_CHECKPOINT
    request = parse_request(SPEC_REQUEST, "request")
    assert (request.old_size, len(request.path), len(request.checkpoint.note.signatures)) == (
        20852014,
        4,
        2,
    )
    assert format_request(request) == SPEC_REQUEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"o\n1\n{ROOT}", "is not a checkpoint"),
        ("o\n1\n", "is not a checkpoint"),
        (f"\n1\n{ROOT}\n", "is not a checkpoint"),
        (f"o\n1\n{ROOT}\n\nx\n", "is not a checkpoint"),
        (f"o\n01\n{ROOT}\n", "the size is '01'"),
        (f"o\n-1\n{ROOT}\n", "the size is '-1'"),
        (f"o\n٣\n{ROOT}\n", "the size is '٣'"),
        (f"o\n1 \n{ROOT}\n", "the size is '1 '"),
        (f"o\n{2**63}\n{ROOT}\n", "the size is"),
        (f"o\n1\n{ROOT[:-1]}\n", "is not canonical base64"),
        ("o\n1\nAAAA\n", "the root has 3 bytes"),
    ],
)
def test_invalid_tree_heads_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_tree_head(text)


def test_tree_head_round_trips_or_is_not_written() -> None:
    head = TreeHead("o", 0, bytes(32), ("x", "y z"))
    assert parse_tree_head(format_tree_head(head)) == head
    for wrong in (
        head._replace(origin="a\nb"),
        head._replace(extensions=("",)),
        head._replace(extensions=("x\ny",)),
        head._replace(origin=""),
    ):
        with pytest.raises(InputError):
            format_tree_head(wrong)


def test_checkpoint_is_bound_to_its_log_and_chain() -> None:
    check_log(CHECKPOINT, LOG)
    with pytest.raises(
        ProofError, match=r"is of the log example.com/log; expected example.com/other"
    ):
        check_log(CHECKPOINT, make_vkey("example.com/other", KEY.public_key))
    with pytest.raises(ProofError, match="none of the known keys"):
        check_log(CHECKPOINT, make_vkey(LOG.name, OTHER_KEY.public_key))
    for count in (9, 12):
        check_tree_covers(CHECKPOINT, HASHES[:count])
    with pytest.raises(ProofError, match="is of 9 entries, the chain has 8"):
        check_tree_covers(CHECKPOINT, HASHES[:8])
    changed = ["ab" * 32, *HASHES[1:]]
    for use in (
        check_tree_covers,
        lambda checkpoint, hashes: prove(hashes, 3, checkpoint),
        lambda checkpoint, hashes: make_witness_request(hashes, 4, checkpoint),
    ):
        with pytest.raises(ProofError, match="they were changed"):
            use(CHECKPOINT, changed)


def test_proof_is_self_contained() -> None:
    for index in range(9):
        data = format_proof(prove(HASHES, index, CHECKPOINT))
        read = parse_proof(data, "p")
        assert format_proof(read) == data
        assert data.startswith(f"c2sp.org/tlog-proof@v1\nindex {index}\n".encode())
        for other in range(12):
            if other == index:
                check_proof(read, HASHES[other])
            else:
                with pytest.raises(ProofError, match="do not give the checkpoint's root"):
                    check_proof(read, HASHES[other])
    with pytest.raises(ProofError, match="no leaf 9 in a tree of 9"):
        prove(HASHES, 9, CHECKPOINT)
    alone = prove(HASHES, 0, sign_tree(LOG.name, HASHES[:1], KEY), extra=b"x")
    assert parse_proof(format_proof(alone), "p") == alone


def test_invalid_proofs_are_refused() -> None:
    good = format_proof(prove(HASHES, 3, CHECKPOINT, extra=b"more"))
    assert parse_proof(good, "p").extra == b"more"
    for old, new, message in (
        (b"@v1", b"@v2", "p begins with"),
        (b"extra bW9yZQ==", b"extra bW9yZR==", "p: extra is not canonical base64"),
        (b"extra bW9yZQ==\n", b"extra\n", "has no line with an index"),
        (b"index 3", b"index 03", "the index is '03'"),
        (b"index 3", b"index -3", "the index is '-3'"),
        (b"index 3\n", b"index 3\nAAAA\n", "a hash of the proof has 3 bytes"),
        (b"index 3\n", b"", "has no line with an index"),
        (b"\n\n", b"\n", "no checkpoint after an empty line|is not canonical base64|no blank line"),
    ):
        with pytest.raises(InputError, match=message):
            parse_proof(good.replace(old, new, 1), "p")
    with pytest.raises(
        InputError, match="p has no checkpoint after an empty line; expected a tlog-proof"
    ):
        parse_proof(good.split(b"\n\n")[0] + b"\n", "p")


def test_every_bit_flip_of_a_proof_is_detected() -> None:
    data = format_proof(prove(HASHES, 3, CHECKPOINT))
    for _, flipped in flip_each_bit(data):
        with pytest.raises((InputError, ProofError)):
            proof = parse_proof(flipped, "p")
            check_log(proof.checkpoint, LOG)
            check_proof(proof, HASHES[3])


def test_witness_follows_a_log_and_refuses_rewrites() -> None:
    seen: TreeHead | None = None
    for size in (0, 1, 4, 4, 9, 12):
        checkpoint = sign_tree(LOG.name, HASHES[:size], KEY)
        request = parse_request(
            format_request(
                make_witness_request(HASHES, 0 if seen is None else seen.size, checkpoint)
            ),
            "r",
        )
        cosignature = witness(request, seen, LOG, WITNESS.name, OTHER_KEY, 1000 + size)
        whole, seals = add_cosignatures(
            checkpoint, format_cosignatures([cosignature]), [WITNESS], "answer"
        )
        assert [seal.timestamp for seal in seals] == [1000 + size]
        assert len(check_note(whole.note, [LOG, WITNESS])) == 2
        seen = checkpoint.head
    assert seen is not None
    other = ["ab" * 32, *HASHES[1:]]
    forked = sign_tree(LOG.name, other, KEY)
    with pytest.raises(ProofError, match="one of them was rewritten"):
        witness(make_witness_request(other, 12, forked), seen, LOG, WITNESS.name, OTHER_KEY, 1)
    rewritten = sign_tree(LOG.name, [*other, "cd" * 32], KEY)
    with pytest.raises(ProofError, match="does not give the older root"):
        witness(
            make_witness_request([*other, "cd" * 32], 12, rewritten),
            seen,
            LOG,
            WITNESS.name,
            OTHER_KEY,
            1,
        )
    with pytest.raises(ProofError, match="goes on from 4 entries; this witness has seen 12"):
        witness(make_witness_request(HASHES, 4, CHECKPOINT), seen, LOG, WITNESS.name, OTHER_KEY, 1)
    with pytest.raises(ProofError, match="this witness keeps x"):
        witness(
            make_witness_request(HASHES, 12, sign_tree(LOG.name, HASHES, KEY)),
            seen._replace(origin="x"),
            LOG,
            "w",
            OTHER_KEY,
            1,
        )
    with pytest.raises(ProofError, match="none of the known keys"):
        witness(
            make_witness_request(HASHES, 0, CHECKPOINT),
            None,
            make_vkey(LOG.name, OTHER_KEY.public_key),
            "w",
            OTHER_KEY,
            1,
        )
    with pytest.raises(
        ProofError, match="has seen 12 entries, the checkpoint is of 9; sign a newer"
    ):
        make_witness_request(HASHES, 12, CHECKPOINT)


def test_only_valid_cosignatures_of_known_witnesses_count() -> None:
    request = make_witness_request(HASHES, 0, CHECKPOINT)
    known = witness(request, None, LOG, WITNESS.name, OTHER_KEY, 7)
    stranger = witness(request, None, LOG, "stranger.example", key_from_hex("55" * 32), 7)
    whole, _ = add_cosignatures(
        CHECKPOINT, format_cosignatures([stranger, known, known]), [WITNESS], "answer"
    )
    assert whole.note.signatures == (*CHECKPOINT.note.signatures, known)
    merged, _ = add_cosignatures(whole, format_cosignatures([known]), [WITNESS], "answer")
    assert merged == whole
    with pytest.raises(ProofError, match="does not verify"):
        add_cosignatures(
            CHECKPOINT, format_cosignatures([known._replace(blob=bytes(72))]), [WITNESS], "answer"
        )
    with pytest.raises(ProofError, match="none of the known keys"):
        add_cosignatures(CHECKPOINT, format_cosignatures([stranger]), [WITNESS], "answer")
    for data in (b"", b"\n", format_cosignatures([known])[:-1], b"\xff\n"):
        with pytest.raises(InputError, match=r"^answer"):
            add_cosignatures(CHECKPOINT, data, [WITNESS], "answer")
    assert WITNESS.kind == COSIGNATURE


def test_response_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = format_cosignatures(
        [
            witness(
                make_witness_request(HASHES, 0, CHECKPOINT), None, LOG, WITNESS.name, OTHER_KEY, 7
            )
        ]
    )
    monkeypatch.setattr("ttplan.audit.c2sp.tlog.MAX_NOTE", len(answer))
    add_cosignatures(CHECKPOINT, answer, [WITNESS], "answer")
    with pytest.raises(InputError, match="answer is not a witness response"):
        add_cosignatures(CHECKPOINT, answer * 2, [WITNESS], "answer")


def test_invalid_requests_are_refused() -> None:
    good = format_request(make_witness_request(HASHES, 4, CHECKPOINT))
    longest = format_request(make_witness_request(HASHES, 0, CHECKPOINT)).replace(
        b"old 0\n", b"old 0\n" + (ROOT + "\n").encode() * 63
    )
    assert len(parse_request(longest, "r").path) == 63
    for data, message in (
        (good.replace(b"old 4", b"old 04"), "the old size is '04'"),
        (good.replace(b"old 4", b"new 4"), "r begins with"),
        (
            longest.replace(b"old 0\n", b"old 0\n" + (ROOT + "\n").encode()),
            "has a proof of 64 hashes; expected at most 63",
        ),
        (b"old 0\n\n", "has no blank line|no checkpoint|does not end"),
        (b"\xff\n\n" + good, "not UTF-8"),
    ):
        with pytest.raises(InputError, match=message):
            parse_request(data, "r")


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    for read in (parse_proof, parse_request):
        with pytest.raises(InputError):
            read(data, "x")


def test_checkpoint_names_its_size_and_origin() -> None:
    assert isinstance(CHECKPOINT, Checkpoint)
    assert CHECKPOINT.head.size == 9
    assert CHECKPOINT.head.origin == LOG.name
