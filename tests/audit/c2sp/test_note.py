"""Signed notes and verifier keys: the examples of the specs, and a strict reader."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tlog_scales.signing import MLDSA44CosignatureSigner, PlainEd25519Signer
from tlog_scales.signing import Vkey as PeerKey
from tlog_scales.tlog import Checkpoint as PeerCheckpoint

from tests.audit.chains import KEY, OTHER_KEY, flip_each_bit
from ttplan.audit.c2sp.checkpoint import cosigned_message
from ttplan.audit.c2sp.note import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE,
    ML_DSA_44,
    Note,
    NoteSignature,
    VerifierKey,
    check_note,
    cosign_note,
    format_note,
    make_vkey,
    parse_note,
    parse_signature,
    parse_vkey,
    sign_note,
    signature_line,
)
from ttplan.model.errors import InputError, KeyFileError, ProofError

# The example in the documentation of golang.org/x/mod/sumdb/note (BSD-3-Clause).
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = """If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
""".encode()  # noqa: E501
# The examples of c2sp.org/signed-note and c2sp.org/tlog-cosignature (CC BY 4.0). Their keys are not
# published.
SPEC_NOTE = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
""".encode()  # noqa: E501
SPEC_CHECKPOINT = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()  # noqa: E501
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
LOG = make_vkey("example.com/log", KEY.public_key)
WITNESS = make_vkey("witness.example/w1", OTHER_KEY.public_key, COSIGNATURE)
ML_DSA_PRIVATE_KEY = MLDSA44PrivateKey.from_seed_bytes(b"\5" * 32)
QUANTUM_KEY = VerifierKey(
    "witness.example/q", ML_DSA_44, ML_DSA_PRIVATE_KEY.public_key().public_bytes_raw()
)


def quantum_cosignature(timestamp: int, text: str = TEXT) -> NoteSignature:
    message = cosigned_message(ML_DSA_44, QUANTUM_KEY.name, timestamp, text)
    return NoteSignature(
        QUANTUM_KEY.name,
        QUANTUM_KEY.key_id,
        timestamp.to_bytes(8, "big") + ML_DSA_PRIVATE_KEY.sign(message),
    )


def cosigned_at(timestamp: int) -> NoteSignature:
    """A valid signature for a timestamp, which may itself be invalid."""
    signature = OTHER_KEY.sign(cosigned_message(COSIGNATURE, WITNESS.name, timestamp, TEXT))
    return NoteSignature(WITNESS.name, WITNESS.key_id, timestamp.to_bytes(8, "big") + signature)


def assert_refused(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^the note.*{message}"):
        parse_note(data)


def test_note_of_another_implementation_verifies() -> None:
    vkey = parse_vkey(GO_KEY)
    assert str(vkey) == GO_KEY
    note = parse_note(GO_NOTE)
    assert [seal.key for seal in check_note(note, [vkey])] == [vkey]
    assert format_note(note) == GO_NOTE
    with pytest.raises(ProofError, match="does not verify"):
        check_note(note._replace(text="x\n"), [vkey])


def test_examples_of_the_specs_are_read() -> None:
    note = parse_note(SPEC_NOTE)
    assert note.text.endswith("sole:\n\ned è subito sera.\n")
    assert [signature.name for signature in note.signatures] == ["quasimodo.example/salvatore"]
    assert format_note(note) == SPEC_NOTE
    checkpoint = parse_note(SPEC_CHECKPOINT)
    assert checkpoint.text == TEXT
    witness = checkpoint.signatures[1]
    assert int.from_bytes(witness.blob[:8], "big") == 1679315147
    assert len(witness.blob) == 72
    assert (
        cosigned_message(COSIGNATURE, witness.name, 1679315147, TEXT)
        == b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    )


def test_ml_dsa_cosigned_message_follows_the_spec() -> None:
    message = cosigned_message(
        ML_DSA_44, "w", 1, "o\n2\n" + base64.b64encode(b"\7" * 32).decode() + "\n"
    )
    numbers = [value.to_bytes(8, "big") for value in (1, 0, 2)]
    assert (
        message
        == b"subtree/v1\n\0" + b"\1w" + numbers[0] + b"\1o" + numbers[1] + numbers[2] + b"\7" * 32
    )
    assert b"\xff" + b"w" * 255 in cosigned_message(ML_DSA_44, "w" * 255, 1, TEXT)
    for name, count in (("", 0), ("é" * 128, 256)):
        with pytest.raises(
            InputError,
            match=f"has {count} bytes; an ML-DSA-44 cosignature takes names of 1 to 255",
        ):
            cosigned_message(ML_DSA_44, name, 1, TEXT)


def test_all_three_key_types_sign_a_checkpoint() -> None:
    log = sign_note(TEXT, LOG.name, KEY)
    stamped = cosign_note(TEXT, WITNESS.name, OTHER_KEY, 1679315147)
    note = Note(TEXT, (log, stamped, quantum_cosignature(0), stamped))
    seals = check_note(parse_note(format_note(note)), [LOG, WITNESS, QUANTUM_KEY])
    assert [(seal.key, seal.timestamp) for seal in seals] == [
        (LOG, None),
        (WITNESS, 1679315147),
        (QUANTUM_KEY, None),
    ]
    for key in (LOG, WITNESS, QUANTUM_KEY):
        assert parse_vkey(str(key)) == key
        with pytest.raises(ProofError, match=f"signature of {key.name} does not verify"):
            check_note(note._replace(text=TEXT.replace("20852163", "20852164")), [key])


def test_unknown_keys_are_skipped_and_bad_signatures_refused() -> None:
    good = sign_note(TEXT, LOG.name, KEY)
    wrong = good._replace(blob=bytes(64))
    renamed, other_id = wrong._replace(name="example.com/x"), wrong._replace(key_id=bytes(4))
    assert len(check_note(Note(TEXT, (renamed, other_id, good)), [LOG])) == 1
    for signatures in ((good, wrong), (wrong, good), (wrong,)):
        with pytest.raises(ProofError, match="does not verify"):
            check_note(Note(TEXT, signatures), [LOG])
    with pytest.raises(
        ProofError, match="none of the known keys has signed this note; known are: witness"
    ):
        check_note(Note(TEXT, (good,)), [WITNESS])
    with pytest.raises(ProofError, match="known are: none"):
        check_note(Note(TEXT, (good,)), [])


def test_invalid_cosignatures_do_not_verify() -> None:
    good = cosign_note(TEXT, WITNESS.name, OTHER_KEY, 5)
    cases = [
        (good._replace(blob=good.blob + b"\0"), TEXT, "it has 73 bytes, expected 72"),
        (good._replace(blob=good.blob[8:]), TEXT, "it has 64 bytes, expected 72"),
        (good._replace(blob=b"\xff" * 8 + good.blob[8:]), TEXT, "its time is past"),
        (
            good._replace(blob=(6).to_bytes(8, "big") + good.blob[8:]),
            TEXT,
            "not made over this hash",
        ),
        (good, "no checkpoint\n", "is not a checkpoint"),
        (cosigned_at(2**63), TEXT, r"its time is past 2\^63"),
        (quantum_cosignature(5)._replace(blob=bytes(2428)), TEXT, "not made over this checkpoint"),
    ]
    for signature, text, message in cases:
        with pytest.raises(ProofError, match=message):
            check_note(Note(text, (signature,)), [WITNESS, QUANTUM_KEY])
    for timestamp in (-1, 2**63):
        with pytest.raises(InputError, match="is not a valid timestamp"):
            cosign_note(TEXT, WITNESS.name, OTHER_KEY, timestamp)
    for timestamp in (0, 1, 2**63 - 1):
        assert cosign_note(TEXT, WITNESS.name, OTHER_KEY, timestamp) == cosigned_at(timestamp)
        (seal,) = check_note(Note(TEXT, (cosigned_at(timestamp),)), [WITNESS])
        assert seal.timestamp == (timestamp or None)


def test_every_bit_flip_of_a_signed_checkpoint_is_detected() -> None:
    data = format_note(Note(TEXT, (sign_note(TEXT, LOG.name, KEY),)))
    for _, flipped in flip_each_bit(data):
        with pytest.raises((InputError, ProofError)):
            check_note(parse_note(flipped), [LOG])


def test_invalid_notes_are_refused() -> None:
    line = signature_line(sign_note(TEXT, LOG.name, KEY))
    good = (TEXT + "\n" + line).encode()
    parse_note(good)
    assert_refused(good[:-1], "does not end with a signature line")
    assert_refused(TEXT.encode() + b"\n", "does not end with a signature line")
    assert_refused(TEXT.encode(), "has no blank line")
    assert_refused(good.replace(b"\n", b"\r\n"), "control character")
    assert_refused(good.replace(b"sofa", b"so\tfa"), "control character")
    assert_refused(b"\xff" + good, "not UTF-8")
    assert_refused(good.replace("— ".encode(), b"- "), "not a signature line")
    assert_refused(good.replace("— ".encode(), "—".encode()), "not a signature line")
    assert_refused(good[:-1] + b" \n", "not a signature line")
    assert_refused(good + line.encode() * 100, "101 signatures")
    assert len(parse_note(good + line.encode() * 99).signatures) == 100
    longest = b"x" * (MAX_NOTE - len(good)) + good
    assert len(parse_note(longest).signatures) == 1
    assert_refused(b"x" + longest, "more than 1,048,576 bytes")
    assert parse_note(("\n\n" + line).encode()).text == "\n"
    # Only a line feed ends a line, not the other line separators of Unicode.
    odd = (
        "a\u2028b\x85c\n\n" + signature_line(sign_note("a\u2028b\x85c\n", LOG.name, KEY))
    ).encode()
    assert parse_note(odd).text == "a\u2028b\x85c\n"
    with pytest.raises(InputError, match="cannot be a note"):
        format_note(Note("a\n\nb", (sign_note("a", LOG.name, KEY),)))


@pytest.mark.parametrize(
    "encoded", ["AAAAAAB", "AAAAAB==", "AAAAAA== ", "AAAA_AA=", "AAAAAA==\u00a0", "", "AAAA"]
)
def test_only_canonical_base64_is_accepted(encoded: str) -> None:
    with pytest.raises(InputError):
        parse_signature(f"— n {encoded}")


def test_signature_line_needs_a_key_name_and_a_byte() -> None:
    assert parse_signature("— n AAECAwQ=") == NoteSignature("n", bytes(range(4)), b"\4")
    for line, message in (
        ("— n AAECAw==", "the signature of n has 4 bytes; expected at least 5"),
        ("— a+b AAECAwQ=", "'a\\+b' is not a key's name"),
        ("—  AAECAwQ=", "'' is not a key's name"),
    ):
        with pytest.raises(InputError, match=message):
            parse_signature(line)


def test_unsupported_ml_dsa_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Unsupported:
        @staticmethod
        def from_public_bytes(raw: bytes) -> None:
            raise UnsupportedAlgorithm("ML-DSA-44")

    monkeypatch.setattr("ttplan.audit.c2sp.note.MLDSA44PublicKey", Unsupported)
    with pytest.raises(
        KeyFileError, match="is of ML-DSA-44, which this build of cryptography cannot verify"
    ):
        parse_vkey(str(QUANTUM_KEY))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u3000", "a\nb", "\ud800"])
def test_invalid_key_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not a key's name"):
        make_vkey(name, KEY.public_key)
    with pytest.raises(InputError):
        parse_vkey(f"{name}+{LOG.key_id.hex()}+{str(LOG).split('+', 2)[2]}")


def test_invalid_verifier_keys_are_refused() -> None:
    name, key_id, data = str(LOG).split("+", 2)
    for text, message in (
        ("x", "is not a verifier key"),
        (f"{name}+{key_id}", "is not a verifier key"),
        (
            f"{name}+{key_id.upper() if key_id.upper() != key_id else 'ABCDEF01'}+{data}",
            "has the id",
        ),
        (f"{name}+00000000+{data}", "has the id '00000000'; its name and key give"),
        (f"{name}+{key_id}+{data[:-1]}", "is not canonical base64"),
        (f"{name}+{key_id}+", "is of type 0x00"),
        (
            f"{name}+{key_id}+" + base64.b64encode(b"\2" + KEY.public_key.raw).decode(),
            "is of type 0x02",
        ),
        (
            f"{name}+{key_id}+" + base64.b64encode(b"\1" + KEY.public_key.raw[:31]).decode(),
            "has 31 bytes; expected 32",
        ),
    ):
        with pytest.raises(InputError, match=message):
            parse_vkey(text)
    weak = VerifierKey(name, ED25519, bytes(32))
    with pytest.raises(KeyFileError, match="small order"):
        parse_vkey(str(weak))


def test_independent_implementation_agrees() -> None:
    peer = PeerCheckpoint.make_signed(
        "example.com/log",
        7,
        b"\3" * 32,
        [
            PlainEd25519Signer("example.com/log", b"\x11" * 32),
            MLDSA44CosignatureSigner(QUANTUM_KEY.name, ML_DSA_PRIVATE_KEY),
        ],
    )
    note = parse_note(peer.serialize().encode())
    assert [seal.key for seal in check_note(note, [LOG, QUANTUM_KEY])] == [LOG, QUANTUM_KEY]
    own_note = Note(
        note.text,
        (sign_note(note.text, LOG.name, KEY), cosign_note(note.text, WITNESS.name, OTHER_KEY, 9)),
    )
    own_note = own_note._replace(
        signatures=(*own_note.signatures, quantum_cosignature(3, note.text))
    )
    read = PeerCheckpoint.from_text(format_note(own_note).decode())
    for key in (LOG, WITNESS, QUANTUM_KEY):
        assert PeerKey.from_string(str(key)).serialize() == str(key)  # type: ignore[no-untyped-call]
        read.verify(PeerKey.from_string(str(key)))


@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda t: f"a\n\n— n {t}\n".encode("utf-8", "replace"))
)
def test_arbitrary_bytes_round_trip_or_are_refused(data: bytes) -> None:
    try:
        note = parse_note(data)
    except InputError:
        return
    assert format_note(note) == data
