"""Keys: in files of mode 0600, from the environment, never shown, and verified strictly."""

from __future__ import annotations

import base64
import copy
import gzip
import json
import os
import pickle
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.audit.keys.test_ed25519_edges import openssl_accepts
from tests.paths import VECTORS
from ttplan.audit.keys import ed25519
from ttplan.audit.keys.key_files import (
    PASSPHRASE_VARIABLE,
    SIGNING_KEY_VARIABLE,
    SigningKey,
    VerifyingKey,
    create_key,
    ensure_key,
    key_from_env,
    key_from_hex,
    load_key,
    passphrase_from_env,
    save_key,
)
from ttplan.model.errors import KeyFileError

VECTORS = VECTORS / "ed25519"
SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"


def accepts(public_key: str, signature: str, message: str) -> bool:
    """Whether the key loads and the signature verifies."""
    try:
        key = VerifyingKey.from_hex(public_key)
    except KeyFileError:
        return False
    return key.signature_problem(bytes.fromhex(signature), bytes.fromhex(message)) is None


@pytest.mark.parametrize("source", ["wycheproof", "speccheck"])
def test_public_vectors_get_strict_verdicts(source: str) -> None:
    cases = json.loads((VECTORS / f"{source}.json").read_text())
    assert len(cases) >= 10
    wrong = [
        c for c in cases if accepts(c["public_key"], c["signature"], c["message"]) is not c["valid"]
    ]
    assert wrong == []


REFUSED_FLAGS = {"LowOrderA", "LowOrderR", "NonCanonicalA", "NonCanonicalR", "LowOrderResidue"}


def test_every_edge_case_of_points_gets_a_strict_verdict() -> None:
    """A and R of each small order, in each encoding, alone and mixed with a large order.

    A signature is refused if A or R is of small order or not canonical, or if the equation holds
    only after multiplying by the cofactor. It is accepted if parts of small order cancel.
    """
    cases = json.loads(gzip.decompress((VECTORS / "ed25519vectors.json.gz").read_bytes()))
    assert len(cases) == 768
    accepted = 0
    for case in cases:
        expected = REFUSED_FLAGS.isdisjoint(case["flags"])
        accepted += expected
        assert accepts(case["public_key"], case["signature"], case["message"]) is expected, case
        raw = [bytes.fromhex(case[name]) for name in ("public_key", "signature", "message")]
        assert openssl_accepts(*raw) is expected, case
    assert accepted == 43


@given(
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=40),
    st.integers(0, 511),
    st.integers(0, 511),
)
def test_openssl_agrees_on_flipped_signatures_and_keys(
    seed: bytes, message: bytes, bit: int, key_bit: int
) -> None:
    key = key_from_hex(seed.hex())
    signature = bytearray(key.sign(message))
    assert openssl_accepts(key.public_key.raw, bytes(signature), message)
    assert key.public_key.signature_problem(bytes(signature), message) is None
    signature[bit // 8] ^= 1 << bit % 8
    public = bytearray(key.public_key.raw)
    public[key_bit % 32] ^= 1 << key_bit // 64
    for raw in (key.public_key.raw, bytes(public)):
        assert accepts(raw.hex(), signature.hex(), message.hex()) == openssl_accepts(
            raw, bytes(signature), message
        )


@pytest.mark.parametrize("raw", sorted(ed25519.SMALL_ORDER), ids=bytes.hex)
def test_points_of_small_order_are_refused_as_key_and_r(raw: bytes) -> None:
    with pytest.raises(KeyFileError, match="small order"):
        VerifyingKey(raw)
    key = key_from_hex(SEED).public_key
    assert key.signature_problem(raw + bytes(32), b"") == "its R is of small order"
    # S = 0 and R = A of order 1 verify under the bare arithmetic.
    assert not openssl_accepts(raw, raw + bytes(32), b"message")


def test_keys_not_canonical_or_off_the_curve_are_refused() -> None:
    p = 2**255 - 19
    with pytest.raises(KeyFileError, match="canonical"):
        VerifyingKey((p + 3).to_bytes(32, "little"))
    off_curve = next(
        y
        for y in range(2, 100)
        if pow(
            (y * y - 1) * pow(-121665 * pow(121666, -1, p) * y * y + 1, -1, p) % p, (p - 1) // 2, p
        )
        == p - 1
    )
    with pytest.raises(KeyFileError, match="not a point"):
        VerifyingKey(off_curve.to_bytes(32, "little"))
    with pytest.raises(KeyFileError, match="31 bytes"):
        VerifyingKey(bytes(31))


def test_signature_and_message_are_not_concatenated() -> None:
    """libsodium reads a signature and its message as one text."""
    key = key_from_hex(SEED)
    assert (
        key.public_key.signature_problem(key.sign(b"xm") + b"x", b"m")
        == "it has 65 bytes, expected 64"
    )
    assert (
        key.public_key.signature_problem(b"", key.sign(b"m") + b"m")
        == "it has 0 bytes, expected 64"
    )


def test_hex_seed_gives_the_key_of_rfc_8032() -> None:
    key = key_from_hex(SEED)
    assert key.public_key.hex == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (
        key.sign(b"")
        .hex()
        .startswith(
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        )
    )


def test_nothing_shows_the_private_key() -> None:
    key = key_from_hex(SEED)
    assert SEED not in repr(key) + str(key) + f"{key!r}" + repr([key]) + repr({"k": key})
    assert repr(key) == f"SigningKey(public_key={key.public_key.hex})"
    for leak in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leak(key)


def test_key_from_the_environment() -> None:
    assert key_from_env({}) is None
    key = key_from_env({SIGNING_KEY_VARIABLE: SEED})
    assert key is not None
    assert key.public_key == key_from_hex(SEED).public_key
    with pytest.raises(
        KeyFileError, match="TT_AUDIT_SIGNING_KEY has 3 characters; expected 64 hex digits"
    ) as caught:
        key_from_env({SIGNING_KEY_VARIABLE: "abc"})
    assert "abc" not in str(caught.value)


def test_key_file_has_mode_0600_and_is_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "key.pem", list[int]()
    key = create_key()
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(0 if path.exists() else os.fstat(handle).st_size)
    )
    old = os.umask(0)
    try:
        save_key(key, path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    assert synced == [path.stat().st_size], "it is on the disk before it appears"
    assert load_key(path).public_key == key.public_key
    before = path.read_bytes()
    with pytest.raises(KeyFileError, match="exists already"):
        save_key(create_key(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_key_file_readable_by_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    save_key(create_key(), path)
    for mode in (0o640, 0o601, 0o610, 0o604, 0o602, 0o620):
        path.chmod(mode)
        with pytest.raises(KeyFileError, match=rf"mode {mode:04o}\); run: chmod 600"):
            load_key(path)
    path.chmod(0o400)
    load_key(path)


def test_passphrase_protects_a_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    key = create_key()
    save_key(key, path, passphrase=b"open sesame")
    assert load_key(path, passphrase=b"open sesame").public_key == key.public_key
    with pytest.raises(KeyFileError, match="needs a passphrase"):
        load_key(path)
    with pytest.raises(KeyFileError, match=", or the passphrase is wrong; expected an Ed25519 key"):
        load_key(path, passphrase=b"no")
    save_key(key, tmp_path / "open.pem")
    with pytest.raises(KeyFileError, match=r"open\.pem has no passphrase"):
        load_key(tmp_path / "open.pem", passphrase=b"no")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
)
def test_file_that_is_not_a_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(
        KeyFileError, match="is not a private key in PKCS#8 PEM; expected an Ed25519 key"
    ):
        load_key(path)


def test_file_with_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    der = base64.b64decode(b"".join(key_from_hex(SEED).pem().split(b"\n")[1:-2]))
    unknown = der.replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b657a"))
    path.write_bytes(
        b"-----BEGIN PRIVATE KEY-----\n"
        + base64.b64encode(unknown)
        + b"\n-----END PRIVATE KEY-----\n"
    )
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="another kind of key"):
        load_key(path)
    path.write_bytes(
        generate_private_key(SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    with pytest.raises(KeyFileError, match="another kind of key; expected Ed25519"):
        load_key(path)


def test_missing_key_file_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="ttplan key generate"):
        load_key(tmp_path / "none.pem")
    with pytest.raises(KeyFileError, match="cannot be read: Is a directory"):
        load_key(tmp_path)
    with pytest.raises(KeyFileError, match="/dev/null is not a file; expected a signing key"):
        load_key("/dev/null")


def test_key_cannot_be_saved_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be written"):
        save_key(create_key(), tmp_path / "none" / "key.pem")


def test_key_made_concurrently_by_another_process_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.pem"

    def save_after_another(key: SigningKey, path: Path, *, passphrase: bytes | None = None) -> None:
        save_key(key_from_hex(SEED), path, passphrase=passphrase)
        save_key(key, path, passphrase=passphrase)

    monkeypatch.setattr("ttplan.audit.keys.key_files.save_key", save_after_another)
    ensure_key(file)
    assert load_key(file).public_key == key_from_hex(SEED).public_key
    monkeypatch.undo()
    before = file.read_bytes()
    ensure_key(file)
    assert file.read_bytes() == before
    ensure_key(tmp_path / "new.pem", passphrase=b"x")
    assert b"ENCRYPTED" in (tmp_path / "new.pem").read_bytes()
    with pytest.raises(KeyFileError, match="cannot be written"):
        ensure_key(tmp_path / "none" / "key.pem")


def test_passphrase_from_the_environment_is_not_empty() -> None:
    assert passphrase_from_env({}) is None
    assert passphrase_from_env({PASSPHRASE_VARIABLE: "é x"}) == "é x".encode()
    with pytest.raises(
        KeyFileError,
        match=f"{PASSPHRASE_VARIABLE} is set but empty; expected a passphrase, or no variable",
    ):
        passphrase_from_env({PASSPHRASE_VARIABLE: ""})


def test_key_equality() -> None:
    key = key_from_hex(SEED).public_key
    equal_key = VerifyingKey.from_hex(f" {key.hex.upper()}\n")
    assert key == equal_key
    assert hash(key) == hash(equal_key)
    assert key != key_from_hex("11" * 32).public_key
    assert key != key.hex
    assert repr(key) == f"VerifyingKey({key.hex})"


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("", "is ''"),
        ("g" * 64, "is 'ggg"),
        ("a" * 80, "is 'aaa"),
        ("a" * 81, "has 81 characters"),
        ("٣" * 64, "is '٣"),
    ],
)
def test_invalid_public_key_is_shown_unless_long(text: str, description: str) -> None:
    with pytest.raises(KeyFileError, match=f"^it {description}.*; expected 64 hex digits"):
        VerifyingKey.from_hex(text, "it")
    with pytest.raises(
        KeyFileError, match=f"^it has {len(text)} characters; expected 64 hex digits"
    ):
        key_from_hex(text, "it")
