"""Signing and verifying keys, stored in files that only their owner can read, never displayed."""

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
from ttplan.util.paths import PathLike

SIGNING_KEY_VARIABLE = "TT_AUDIT_SIGNING_KEY"
"""The environment variable with the signing key: 64 hex digits, a 32-byte seed."""
PASSPHRASE_VARIABLE = "TTPLAN_KEY_PASSPHRASE"  # noqa: S105 - a variable's name
"""The environment variable with the passphrase of key files."""
_MAX_KEY_FILE = 64 * 1024


class VerifyingKey:
    """An Ed25519 public key that verifies strictly.

    Parameters
    ----------
    raw : bytes
        32 bytes.
    what : str, optional
        How error messages call the key.

    Raises
    ------
    KeyFileError
        If the key is malformed, or one that anyone can sign for.

    Examples
    --------
    >>> import ttplan
    >>> key = ttplan.VerifyingKey.from_hex(
    ...     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    ... )
    >>> key.hex[:8]
    'd75a9801'
    """

    __slots__ = ("raw",)

    def __init__(self, raw: bytes, what: str = "the public key") -> None:
        ed25519.check_point(raw, what)
        self.raw = raw

    @classmethod
    def from_hex(cls, text: str, what: str = "the public key") -> VerifyingKey:
        """Parse 64 hex digits. Raises KeyFileError for anything else."""
        return cls(_parse_hex(text, what), what)

    @property
    def hex(self) -> str:
        """64 lower-case hex digits."""
        return self.raw.hex()

    def signature_problem(self, signature: bytes, message: bytes) -> str | None:
        """Return why `signature` is not this key's over `message`; None if it is."""
        return ed25519.find_signature_problem(self.raw, signature, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VerifyingKey) and other.raw == self.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.hex})"


class SigningKey:
    """An Ed25519 private key. Its repr does not show it, and it cannot be pickled."""

    __slots__ = ("_key", "public_key")

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = VerifyingKey(raw, "the signing key's public half")

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of `message`."""
        return self._key.sign(message)

    def pem(self, passphrase: bytes | None = None) -> bytes:
        """Return the key as PKCS#8 PEM, the format of key files. Secret."""
        encryption: KeySerializationEncryption = (
            NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
        )
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key cannot be pickled; load it from its file instead")


def create_key() -> SigningKey:
    """Create a key from the system's randomness."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32)))


def key_from_hex(text: str, what: str = "the signing key") -> SigningKey:
    """Parse the hex of a 32-byte seed. Raises KeyFileError, which never contains the text."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(_parse_hex(text, what, secret=True)))


def key_from_env(environ: Mapping[str, str]) -> SigningKey | None:
    """Return the key in `TT_AUDIT_SIGNING_KEY`, if set. Raises KeyFileError if it is invalid."""
    text = environ.get(SIGNING_KEY_VARIABLE)
    if text is None:
        return None
    return key_from_hex(text, f"the environment variable {SIGNING_KEY_VARIABLE}")


def passphrase_from_env(environ: Mapping[str, str]) -> bytes | None:
    """Return the passphrase in `TTPLAN_KEY_PASSPHRASE`, if set. KeyFileError if it is empty."""
    text = environ.get(PASSPHRASE_VARIABLE)
    if text == "":
        raise KeyFileError(
            f"{PASSPHRASE_VARIABLE} is set but empty; expected a passphrase, or no variable"
        )
    return None if text is None else text.encode()


def save_key(key: SigningKey, path: PathLike, *, passphrase: bytes | None = None) -> None:
    """Write a key file that only its owner can read. It appears whole and replaces nothing.

    Raises KeyFileError if the file exists or cannot be written.
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
            f"{target} cannot be written: {error.strerror}; choose a folder that this user may "
            "write to"
        ) from None


def ensure_key(path: PathLike, *, passphrase: bytes | None = None) -> None:
    """Create a key file if it is missing. Another process may create it at the same time.

    Raises KeyFileError if it cannot be written.
    """
    # Not Path.exists, which raises if the folder may not be entered.
    if not os.path.exists(path):
        try:
            save_key(create_key(), path, passphrase=passphrase)
        except KeyFileError:
            if not os.path.exists(path):
                raise


def load_key(path: PathLike, *, passphrase: bytes | None = None) -> SigningKey:
    """Read a key file. Raises KeyFileError if it is missing, readable by others, or invalid."""
    file = Path(path)
    try:
        data = read_private_file(file, "a signing key in PKCS#8 PEM", limit=_MAX_KEY_FILE)
    except FileNotFoundError:
        raise KeyFileError(
            f"no signing key at {file}; create one with `ttplan key generate {file}`, or give the "
            "path of another key"
        ) from None
    try:
        key = load_pem_private_key(data, passphrase)
    except TypeError:
        problem = "needs a passphrase" if passphrase is None else "has no passphrase"
        raise KeyFileError(f"{file} {problem}") from None
    except UnsupportedAlgorithm:
        raise KeyFileError(f"{file} holds another kind of key; expected Ed25519") from None
    except ValueError:
        hint = "" if passphrase is None else ", or the passphrase is wrong"
        raise KeyFileError(
            f"{file} is not a private key in PKCS#8 PEM{hint}; expected an Ed25519 key such as "
            "`ttplan key generate` writes"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{file} holds another kind of key; expected Ed25519")
    return SigningKey(key)


def read_private_file(file: Path, what: str, *, limit: int, exact_mode: bool = False) -> bytes:
    """Return up to `limit` bytes of a file that others cannot read, or of mode 0600 exactly.

    Raises KeyFileError, or FileNotFoundError so that the caller can say what to do.
    """
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise KeyFileError(f"{file} is not a file; expected {what}")
            permissions = stat.S_IMODE(mode)
            if permissions != 0o600 if exact_mode else permissions & 0o077:
                problem = "must have mode 0600" if exact_mode else "can be read by others"
                raise KeyFileError(
                    f"{file} {problem} (mode {permissions:04o}); run: chmod 600 {file}"
                )
            return stream.read(limit)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileError(f"{file} cannot be read: {error.strerror}; expected {what}") from None


def _parse_hex(text: str, what: str, *, secret: bool = False) -> bytes:
    stripped = text.strip()
    if not re.fullmatch(r"[0-9a-fA-F]{64}", stripped, re.ASCII):
        hide = secret or len(stripped) > 80
        shown = f"has {len(stripped)} characters" if hide else f"is {stripped!r}"
        raise KeyFileError(f"{what} {shown}; expected 64 hex digits")
    return bytes.fromhex(stripped)
