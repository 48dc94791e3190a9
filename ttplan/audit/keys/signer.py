"""Whatever signs: a key in this process, or a command that asks a key kept elsewhere (a KMS, a hardware token)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.errors import InputError, KeyFileError
from ttplan.util.commands import parse_command, run_command

COMMAND_NAME = "TTPLAN_SIGN_COMMAND"
"""The environment variable that may hold the command that signs."""
SIGN_KEY_VARIABLE = "TTPLAN_SIGN_KEY"
"""The environment variable with the public key of what that command signs with: 64 hex digits."""
_HEX128 = re.compile(rb"[0-9a-f]{128}")


class Signer(Protocol):
    """What signs the entries of a chain. It is given the message alone, and what it gives back is verified before use."""

    @property
    def public_key(self) -> VerifyingKey:
        """The key that its signatures verify with."""

    def sign(self, message: bytes) -> bytes:
        """The Ed25519 signature of a message, 64 bytes. Raises KeyFileError where there is none to be had."""


class CommandSigner:
    """A command that signs what it reads on its standard input, and writes the signature: 64 bytes, or 128 hex digits."""

    def __init__(
        self, command: Sequence[str], public_key: VerifyingKey, *, timeout: float = 60.0
    ) -> None:
        """`timeout` is in seconds."""
        self._command = list(command)
        self._timeout = timeout
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """The signature. Raises KeyFileError where the command fails, takes too long, or writes something else."""
        try:
            answer = run_command(self._command, message, timeout=self._timeout)
        except InputError as error:
            raise KeyFileError(f"no signature: {error}") from None
        if len(answer) == 64:
            return answer
        text = answer.strip()
        if _HEX128.fullmatch(text):
            return bytes.fromhex(text.decode())
        raise KeyFileError(
            f"the signing command {self} wrote {len(answer)} bytes; expected 64, or 128 hex digits"
        )

    def __str__(self) -> str:
        return self._command[0]

    def __repr__(self) -> str:
        return f"CommandSigner({self._command[0]!r}, public_key={self.public_key.hex})"


def signer_from_env(environ: Mapping[str, str]) -> CommandSigner | None:
    """The command in `TTPLAN_SIGN_COMMAND`, with its key in `TTPLAN_SIGN_KEY`; None where that is not set.

    Raises InputError where only the command is there, or it is no command.
    """
    text = environ.get(COMMAND_NAME)
    if text is None:
        return None
    key = environ.get(SIGN_KEY_VARIABLE)
    if key is None:
        raise KeyFileError(
            f"{COMMAND_NAME} is set but {SIGN_KEY_VARIABLE} is not; give the public key of what it signs with"
        )
    command = parse_command(text, COMMAND_NAME)
    return CommandSigner(command, VerifyingKey.from_hex(key, SIGN_KEY_VARIABLE))


def signed(signer: Signer, message: bytes) -> bytes:
    """The signer's signature of a message, verified. Raises KeyFileError where it is not its key's."""
    signature = signer.sign(message)
    fault = signer.public_key.fault(signature, message)
    if fault is not None:
        raise KeyFileError(
            f"what signs for {signer.public_key.hex} gave a signature that does not verify: {fault}"
        )
    return signature
