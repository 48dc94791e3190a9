"""Strict Ed25519 verification: the verdicts of libsodium, and of `verify_strict` in Rust.

Libraries differ on keys and R values of small order and on non-canonical keys, for which anyone can
make signatures. They are rejected here before libsodium does the arithmetic. Keys are checked once,
when they are loaded. See RFC 8032, sections 5.1.3 and 5.1.7.
"""

from __future__ import annotations

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_SIGN = 1 << 255
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
"""The y of a point of order 8: a root of `d y^4 + 2 y^2 - 1`, because its double has y = 0."""
SMALL_ORDER = frozenset(
    (y | sign).to_bytes(32, "little")
    for y in (0, 1, _P - 1, _Y8, _P - _Y8, _P, _P + 1)
    for sign in (0, _SIGN)
)
"""All encodings, canonical or not, of the eight points of small order."""


def check_point(raw: bytes, what: str) -> None:
    """Raise KeyFileError if a public key has the wrong length, is not canonical, or is unsafe."""
    from ttplan.model.errors import KeyFileError  # deferred, so that workers start fast

    if len(raw) != 32:
        raise KeyFileError(f"{what} has {len(raw)} bytes; expected the 32 of an Ed25519 public key")
    if raw in SMALL_ORDER:
        raise KeyFileError(
            f"{what} is a point of small order, for which anyone can sign; expected a real public "
            "key"
        )
    y = int.from_bytes(raw, "little") & (_SIGN - 1)
    if y >= _P:
        raise KeyFileError(
            f"{what} is not in canonical form; expected the encoding that key generation gives"
        )
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    if pow(x_squared, (_P - 1) // 2, _P) != 1:
        raise KeyFileError(f"{what} is not a point of the curve; expected an Ed25519 public key")


def find_signature_problem(key: bytes, signature: bytes, message: bytes) -> str | None:
    """Return why a signature is invalid; None if it is valid. `key` has passed `check_point`."""
    if len(signature) != 64:
        return f"it has {len(signature)} bytes, expected 64"
    if signature[:32] in SMALL_ORDER:
        return "its R is of small order"
    if not is_valid_signature(signature + message, key):
        return "it was not made over this hash by this key"
    return None


def is_valid_signature(signed_message: bytes, key: bytes) -> bool:
    """Return whether a message with its signature in front is valid. For workers: no messages."""
    if signed_message[:32] in SMALL_ORDER:
        return False
    try:
        crypto_sign_open(signed_message, key)
    except BadSignatureError:
        return False
    return True
