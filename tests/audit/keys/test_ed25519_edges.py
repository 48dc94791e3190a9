"""Edge cases of Ed25519: torsion in key and R, every odd encoding, unreduced S.

libsodium, which the library uses, must agree with the verifier in one file, which uses OpenSSL. The
public set of such cases (CCTV of C2SP) is made the same way: points of small order are added to
signatures of a known key, because implementations differ on them.
"""

from __future__ import annotations

import hashlib
from itertools import product

import pytest

from ttplan.audit import standalone
from ttplan.audit.keys import ed25519
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.errors import KeyFileError

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(a: Point, b: Point) -> Point:
    """The curve's group law, RFC 8032 5.1.4, in affine coordinates."""
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    return (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P


def multiply(n: int, point: Point) -> Point:
    total = IDENTITY
    while n:
        if n & 1:
            total = add(total, point)
        point, n = add(point, point), n >> 1
    return total


def x_of(y: int) -> int:
    """The even x of a point with that y."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert x * x % P == square
    return x if x % 2 == 0 else P - x


def encode(point: Point, *, shifted: bool = False, flipped: bool = False) -> bytes:
    """A point's encoding. `shifted` adds p to y, `flipped` changes the sign bit."""
    x, y = point
    y += P if shifted else 0
    return (y | ((x & 1) ^ flipped) << 255).to_bytes(32, "little")


BASE: Point = (x_of(4 * pow(5, -1, P) % P), 4 * pow(5, -1, P) % P)
_Y8 = min(
    y
    for raw in ed25519.SMALL_ORDER
    if (D * (y := int.from_bytes(raw, "little")) ** 4 + 2 * y * y - 1) % P == 0
)
EIGHTH: Point = (x_of(_Y8), _Y8)
TORSION = [multiply(n, EIGHTH) for n in range(8)]
SMALL = [
    (point, encode(point, shifted=shifted, flipped=flipped))
    for point, shifted, flipped in product(TORSION, (False, True), (False, True))
    if not (shifted and point[1] >= 19) and not (flipped and point[0] != 0)
]
"""The points of small order, each in every encoding."""
SECRET, NONCE = 0x1234567890ABCDEF << 180 | 1, 0xFEDCBA0987654321 << 170 | 3

PUBLIC, RANDOM = multiply(SECRET, BASE), multiply(NONCE, BASE)


def libsodium_accepts(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        return VerifyingKey(key).signature_problem(signature, message) is None
    except KeyFileError:
        return False


def openssl_accepts(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        return standalone.is_signed(key.hex(), signature.hex(), message)
    except ValueError:
        return False


def challenge(r: bytes, a: bytes, message: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def sign_with_torsion(a: bytes, r: bytes, secret: int, nonce: int, message: bytes) -> bytes:
    """A signature that is valid if the parts of small order in `a` and `r` cancel."""
    s = (nonce + challenge(r, a, message) * secret) % L
    return r + s.to_bytes(32, "little")


def both_accept(key: bytes, signature: bytes, message: bytes) -> bool:
    accepted = libsodium_accepts(key, signature, message)
    assert accepted == openssl_accepts(key, signature, message), (
        key.hex(),
        signature.hex(),
        message.hex(),
    )
    return accepted


def test_small_order_points_are_the_eight_of_the_curve() -> None:
    assert len({encode(point) for point in TORSION}) == 8
    assert multiply(8, EIGHTH) == IDENTITY
    assert {raw for _, raw in SMALL} == ed25519.SMALL_ORDER


@pytest.mark.parametrize("i", range(8))
def test_torsion_in_key_and_r(i: int) -> None:
    """A signature verifies if and only if the parts of small order cancel (not cofactored)."""
    verdicts = set()
    for j, number in product(range(8), range(6)):
        a, r = encode(add(PUBLIC, TORSION[i])), encode(add(RANDOM, TORSION[j]))
        message = bytes([number])
        accepted = both_accept(a, sign_with_torsion(a, r, SECRET, NONCE, message), message)
        assert accepted == (
            add(multiply(challenge(r, a, message), TORSION[i]), TORSION[j]) == IDENTITY
        )
        verdicts.add(accepted)
    assert verdicts == {True, False}


@pytest.mark.parametrize("i", range(8))
def test_small_order_keys_and_rs_in_every_encoding(i: int) -> None:
    _, a = SMALL[i % len(SMALL)]
    for _, r in SMALL:
        for number in range(4):
            assert not both_accept(a, r + bytes(32), bytes([number]))
            mixed = encode(PUBLIC)
            assert not both_accept(
                mixed, sign_with_torsion(mixed, r, SECRET, 0, bytes([number])), bytes([number])
            )


def test_an_unreduced_s_is_refused() -> None:
    a, r = encode(PUBLIC), encode(RANDOM)
    good = sign_with_torsion(a, r, SECRET, NONCE, b"m")
    assert both_accept(a, good, b"m")
    s = int.from_bytes(good[32:], "little")
    for multiple in range(1, 16):
        if s + multiple * L < 2**256:
            assert not both_accept(a, r + (s + multiple * L).to_bytes(32, "little"), b"m")


def test_every_non_canonical_y_is_refused() -> None:
    for low in range(19):
        for sign in (0, 1):
            a = (P + low | sign << 255).to_bytes(32, "little")
            assert not both_accept(a, bytes(64), b"m")
