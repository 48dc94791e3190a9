"""Signing and verifying keys: made, kept in files that only their owner reads, never shown."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from ttplan.audit.keys import ed25519
from ttplan.model.errors import KeyFileError

SIGNING_KEY_VARIABLE = "TT_AUDIT_SIGNING_KEY"
"""The environment variable that may hold the signing key: 64 hex digits, a 32-byte seed."""
PASSPHRASE_VARIABLE = "TTPLAN_KEY_PASSPHRASE"  # noqa: S105 - its name, not what it holds
"""The environment variable that may hold the passphrase with which key files are written and read."""
_MAX_KEY_FILE = 64 * 1024


class VerifyingKey:
    """An Ed25519 public key that verifies strictly."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes, what: str = "the public key") -> None:
        """From 32 bytes. Raises KeyFileError for a key that anybody could sign for."""
        ed25519.check_point(raw, what)
        self.raw = raw

    @classmethod
    def from_hex(cls, text: str, what: str = "the public key") -> VerifyingKey:
        """From 64 hex digits. Raises KeyFileError for anything else."""
        return cls(_from_hex(text, what), what)

    @property
    def hex(self) -> str:
        """64 lower-case hex digits."""
        return self.raw.hex()

    def fault(self, signature: bytes, message: bytes) -> str | None:
        """None where `signature` is this key's over `message`, else what is wrong with it."""
        return ed25519.find_signature_problem(self.raw, signature, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.hex})"


class SigningKey:
    """An Ed25519 private key. It signs; nothing shows it, and it does not pickle."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = VerifyingKey(raw, "the signing key's public half")

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`."""
        return self._key.sign(message)

    def pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS#8 PEM, the form that is kept in a file. Secret."""
        encryption: KeySerializationEncryption = (
            NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
        )
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not pickled; load it from its file where it is needed")


def create_key() -> SigningKey:
    """A new key from the system's randomness."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32)))


def key_from_hex(text: str, what: str = "the signing key") -> SigningKey:
    """From the hex of a 32-byte seed. Raises KeyFileError, which never shows the text."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(_from_hex(text, what, secret=True)))


def key_from_env(environ: Mapping[str, str]) -> SigningKey | None:
    """The key in `TT_AUDIT_SIGNING_KEY`, None where that is not set. Raises KeyFileError where it is no key."""
    text = environ.get(SIGNING_KEY_VARIABLE)
    return (
        None
        if text is None
        else key_from_hex(text, f"the environment variable {SIGNING_KEY_VARIABLE}")
    )


def passphrase_from_env(environ: Mapping[str, str]) -> bytes | None:
    """The passphrase in `TTPLAN_KEY_PASSPHRASE`, None where that is not set. Raises KeyFileError where it is empty."""
    text = environ.get(PASSPHRASE_VARIABLE)
    if text == "":
        raise KeyFileError(
            f"{PASSPHRASE_VARIABLE} is set but empty; expected a passphrase, or none set"
        )
    return None if text is None else text.encode()


def save_key(
    key: SigningKey, path: str | os.PathLike[str], *, passphrase: bytes | None = None
) -> None:
    """Write PKCS#8 PEM, readable by its owner only. The file appears whole or not at all, and replaces nothing.

    Raises KeyFileError where there is a file already, or it cannot be written.
    """
    target = Path(path)
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(key.pem(passphrase))
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, target)
        finally:
            draft.unlink()
    except FileExistsError:
        raise KeyFileError(
            f"{target} exists already, and keys are never overwritten; choose another path"
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"{target} cannot be written: {error.strerror}; choose a folder that this user may write"
        ) from None


def ensure_key(path: str | os.PathLike[str], *, passphrase: bytes | None = None) -> None:
    """Have a key in a file: a new one where there is none, be that since another process has just made one.

    Raises KeyFileError where it cannot be written.
    """
    # Not Path.exists, which raises where a folder may not be entered.
    if not os.path.exists(path):
        try:
            save_key(create_key(), path, passphrase=passphrase)
        except KeyFileError:
            if not os.path.exists(path):
                raise


def load_key(path: str | os.PathLike[str], *, passphrase: bytes | None = None) -> SigningKey:
    """Read a PKCS#8 PEM file. Raises KeyFileError where it is missing, readable by others, or no Ed25519 key."""
    file = Path(path)
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{file} is not a file; expected a signing key in PKCS#8 PEM")
            if status.st_mode & 0o077:
                raise KeyFileError(
                    f"{file} can be read by others (mode {status.st_mode & 0o777:04o}); run: chmod 600 {file}"
                )
            data = opened.read(_MAX_KEY_FILE)
    except FileNotFoundError:
        raise KeyFileError(
            f"no signing key at {file}; make one with `ttplan keygen {file}`, or name the right file"
        ) from None
    except OSError as error:
        raise KeyFileError(
            f"{file} cannot be read: {error.strerror}; expected a signing key in PKCS#8 PEM"
        ) from None
    try:
        key = load_pem_private_key(data, passphrase)
    except TypeError:
        wanted = "needs a passphrase" if passphrase is None else "has no passphrase"
        raise KeyFileError(f"{file} {wanted}") from None
    except UnsupportedAlgorithm:
        raise KeyFileError(f"{file} holds another kind of key; expected Ed25519") from None
    except ValueError:
        problem = "is no private key in PKCS#8 PEM" + (
            "" if passphrase is None else ", or the passphrase is wrong"
        )
        raise KeyFileError(
            f"{file} {problem}; expected an Ed25519 key such as `ttplan keygen` writes"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{file} holds another kind of key; expected Ed25519")
    return SigningKey(key)


def _from_hex(text: str, what: str, *, secret: bool = False) -> bytes:
    stripped = text.strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", stripped, re.ASCII):
        shown = (
            f"has {len(stripped)} characters"
            if secret or len(stripped) > 80
            else f"is {stripped!r}"
        )
        raise KeyFileError(f"{what} {shown}; expected 64 hex digits")
    return bytes.fromhex(stripped)
