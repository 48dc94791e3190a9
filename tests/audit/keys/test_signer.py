"""A command that signs: its answer is read strictly and verified, and what goes wrong with it is said."""

from __future__ import annotations

import sys

import pytest

from tests.audit.chains import KEY, OTHER_KEY
from ttplan.audit.keys.signer import (
    SIGN_COMMAND_VARIABLE,
    SIGN_KEY_VARIABLE,
    CommandSigner,
    sign_and_verify,
    signer_from_env,
)
from ttplan.model.errors import InputError, KeyFileError
from ttplan.util.commands import parse_command, run_command

PUBLIC = KEY.public_key
GOOD = KEY.sign(b"x")


def python(script: str) -> list[str]:
    return [sys.executable, "-ISc", script]


def signer(answer: bytes) -> CommandSigner:
    return CommandSigner(python(f"import sys; sys.stdout.buffer.write({answer!r})"), PUBLIC)


@pytest.mark.parametrize(
    "answer", [GOOD, GOOD.hex().encode(), b" " + GOOD.hex().encode() + b"\r\n"]
)
def test_a_signature_is_64_bytes_or_128_hex_digits(answer: bytes) -> None:
    assert sign_and_verify(signer(answer), b"x") == GOOD


@pytest.mark.parametrize(
    "answer",
    [b"", GOOD[:-1], GOOD + b"\n", GOOD.hex().upper().encode(), GOOD.hex().encode() + b"00"],
)
def test_another_answer_is_none(answer: bytes) -> None:
    with pytest.raises(
        KeyFileError,
        match=f"the signing command {sys.executable} wrote {len(answer)} bytes; expected 64, or 128",
    ):
        signer(answer).sign(b"x")


def test_what_signs_is_not_trusted() -> None:
    with pytest.raises(
        KeyFileError,
        match=f"the signer for {PUBLIC.hex} returned a signature that does not verify: it was not made",
    ):
        sign_and_verify(signer(GOOD), b"y")
    with pytest.raises(KeyFileError, match="does not verify: its R is of small order"):
        sign_and_verify(signer(bytes(64)), b"x")


def test_a_command_that_fails_gives_no_signature() -> None:
    for command, message in (
        (
            ["/nowhere/at/all"],
            "no signature: the command /nowhere/at/all cannot be run: No such file",
        ),
        (python("import sys; sys.exit(' no token ')"), r"failed \(exit code 1\): no token$"),
        (python("import sys; sys.exit(7)"), r"failed \(exit code 7\): no message$"),
        (python("import sys; sys.exit('x' * 300)"), r"failed \(exit code 1\): x{200}$"),
    ):
        with pytest.raises(KeyFileError, match=message):
            CommandSigner(command, PUBLIC).sign(b"x")
    with pytest.raises(KeyFileError, match=r"did not end within 0\.1 s"):
        CommandSigner(python("import time; time.sleep(9)"), PUBLIC, timeout=0.1).sign(b"x")
    assert run_command(python("import sys; print(sys.stdin.read())"), b"in", timeout=60) == b"in\n"


def test_a_command_is_split_as_a_shell_would() -> None:
    assert parse_command("sign 'a key'  --now", "it") == ["sign", "a key", "--now"]
    for text, message in (
        ("", "it is empty; expected a command"),
        ("sign 'a", "it is not a command: No closing quotation"),
    ):
        with pytest.raises(InputError, match=message):
            parse_command(text, "it")


def test_the_environment_names_the_command_and_its_key() -> None:
    assert signer_from_env({SIGN_KEY_VARIABLE: PUBLIC.hex}) is None
    found = signer_from_env({SIGN_COMMAND_VARIABLE: "sign --secret", SIGN_KEY_VARIABLE: PUBLIC.hex})
    assert found is not None
    assert found.public_key == PUBLIC != OTHER_KEY.public_key
    assert repr(found) == f"CommandSigner('sign', public_key={PUBLIC.hex})"
    with pytest.raises(
        KeyFileError, match=f"{SIGN_COMMAND_VARIABLE} is set but {SIGN_KEY_VARIABLE} is not"
    ):
        signer_from_env({SIGN_COMMAND_VARIABLE: "sign"})
    with pytest.raises(KeyFileError, match=f"{SIGN_KEY_VARIABLE} is 'ab'; expected 64 hex digits"):
        signer_from_env({SIGN_COMMAND_VARIABLE: "sign", SIGN_KEY_VARIABLE: "ab"})
