"""A signing command: its output is read strictly and verified, and its failures are reported."""

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


def python_command(script: str) -> list[str]:
    return [sys.executable, "-ISc", script]


def command_signer(output: bytes) -> CommandSigner:
    return CommandSigner(python_command(f"import sys; sys.stdout.buffer.write({output!r})"), PUBLIC)


@pytest.mark.parametrize(
    "output", [GOOD, GOOD.hex().encode(), b" " + GOOD.hex().encode() + b"\r\n"]
)
def test_signature_is_64_bytes_or_128_hex_digits(output: bytes) -> None:
    assert sign_and_verify(command_signer(output), b"x") == GOOD


@pytest.mark.parametrize(
    "output",
    [b"", GOOD[:-1], GOOD + b"\n", GOOD.hex().upper().encode(), GOOD.hex().encode() + b"00"],
)
def test_other_output_is_not_a_signature(output: bytes) -> None:
    with pytest.raises(
        KeyFileError,
        match=f"the signing command {sys.executable} wrote {len(output)} bytes; expected 64, "
        "or 128",
    ):
        command_signer(output).sign(b"x")


def test_signer_is_not_trusted() -> None:
    with pytest.raises(
        KeyFileError,
        match=f"the signer for {PUBLIC.hex} returned a signature that does not verify: "
        "it was not made",
    ):
        sign_and_verify(command_signer(GOOD), b"y")
    with pytest.raises(KeyFileError, match="does not verify: its R is of small order"):
        sign_and_verify(command_signer(bytes(64)), b"x")


def test_failed_command_gives_no_signature() -> None:
    for command, message in (
        (
            ["/nowhere/at/all"],
            "no signature: the command /nowhere/at/all cannot be run: No such file",
        ),
        (
            python_command("import sys; sys.exit(' no token ')"),
            r"failed \(exit code 1\): no token$",
        ),
        (python_command("import sys; sys.exit(7)"), r"failed \(exit code 7\): no message$"),
        (python_command("import sys; sys.exit('x' * 300)"), r"failed \(exit code 1\): x{200}$"),
    ):
        with pytest.raises(KeyFileError, match=message):
            CommandSigner(command, PUBLIC).sign(b"x")
    with pytest.raises(KeyFileError, match=r"did not end within 0\.1 s"):
        CommandSigner(python_command("import time; time.sleep(9)"), PUBLIC, timeout=0.1).sign(b"x")
    assert (
        run_command(python_command("import sys; print(sys.stdin.read())"), b"in", timeout=60)
        == b"in\n"
    )


def test_command_is_split_as_in_a_shell() -> None:
    assert parse_command("sign 'a key'  --now", "it") == ["sign", "a key", "--now"]
    for text, message in (
        ("", "it is empty; expected a command"),
        ("sign 'a", "it is not a command: No closing quotation"),
    ):
        with pytest.raises(InputError, match=message):
            parse_command(text, "it")


def test_environment_names_the_command_and_its_key() -> None:
    assert signer_from_env({SIGN_KEY_VARIABLE: PUBLIC.hex}) is None
    signer = signer_from_env(
        {SIGN_COMMAND_VARIABLE: "sign --secret", SIGN_KEY_VARIABLE: PUBLIC.hex}
    )
    assert signer is not None
    assert signer.public_key == PUBLIC != OTHER_KEY.public_key
    assert repr(signer) == f"CommandSigner('sign', public_key={PUBLIC.hex})"
    with pytest.raises(
        KeyFileError, match=f"{SIGN_COMMAND_VARIABLE} is set but {SIGN_KEY_VARIABLE} is not"
    ):
        signer_from_env({SIGN_COMMAND_VARIABLE: "sign"})
    with pytest.raises(KeyFileError, match=f"{SIGN_KEY_VARIABLE} is 'ab'; expected 64 hex digits"):
        signer_from_env({SIGN_COMMAND_VARIABLE: "sign", SIGN_KEY_VARIABLE: "ab"})
