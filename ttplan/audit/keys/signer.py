"""Signers: a key in this process, or a command that uses a key elsewhere (KMS, hardware token)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.errors import InputError, KeyFileError
from ttplan.util.commands import parse_command, run_command

SIGN_COMMAND_VARIABLE = "TTPLAN_SIGN_COMMAND"
"""The environment variable with the command that signs."""
SIGN_KEY_VARIABLE = "TTPLAN_SIGN_KEY"
"""The environment variable with that command's public key: 64 hex digits."""
_HEX128 = re.compile(rb"[0-9a-f]{128}")


class Signer(Protocol):
    """Signs the entries of a chain. Only messages are passed; signatures are verified before use.

    Attributes
    ----------
    public_key : VerifyingKey
        The key that its signatures verify with.
    """

    @property
    def public_key(self) -> VerifyingKey:
        """The key that its signatures verify with."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature. Raises KeyFileError if signing is impossible."""


class CommandSigner:
    """A command that reads a message on its standard input and writes the signature.

    Parameters
    ----------
    command : sequence of str
        It writes 64 bytes, or 128 hex digits.
    public_key : VerifyingKey
    timeout : float, optional
        Seconds.

    Examples
    --------
    >>> import ttplan
    >>> from ttplan.audit.keys.key_files import create_key
    >>> ttplan.CommandSigner(["kms-sign", "--key", "7"], create_key().public_key).timeout
    60.0
    """

    def __init__(
        self, command: Sequence[str], public_key: VerifyingKey, *, timeout: float = 60.0
    ) -> None:
        self._command = list(command)
        self.timeout = timeout
        self.public_key = public_key

    def sign(self, message: bytes) -> bytes:
        """Return the signature. Raises KeyFileError if the command fails or its output is wrong."""
        try:
            output = run_command(self._command, message, timeout=self.timeout)
        except InputError as error:
            raise KeyFileError(f"no signature: {error}") from None
        if len(output) == 64:
            return output
        text = output.strip()
        if _HEX128.fullmatch(text):
            return bytes.fromhex(text.decode())
        raise KeyFileError(
            f"the signing command {self} wrote {len(output)} bytes; expected 64, or 128 hex digits"
        )

    def __str__(self) -> str:
        return self._command[0]

    def __repr__(self) -> str:
        return f"CommandSigner({self._command[0]!r}, public_key={self.public_key.hex})"


def signer_from_env(environ: Mapping[str, str]) -> CommandSigner | None:
    """Return the signer that `TTPLAN_SIGN_COMMAND` and `TTPLAN_SIGN_KEY` configure, if any.

    Raises InputError if only the command is set, or it is malformed.
    """
    text = environ.get(SIGN_COMMAND_VARIABLE)
    if text is None:
        return None
    key = environ.get(SIGN_KEY_VARIABLE)
    if key is None:
        raise KeyFileError(
            f"{SIGN_COMMAND_VARIABLE} is set but {SIGN_KEY_VARIABLE} is not; set it to the public "
            "key of the signing command"
        )
    command = parse_command(text, SIGN_COMMAND_VARIABLE)
    return CommandSigner(command, VerifyingKey.from_hex(key, SIGN_KEY_VARIABLE))


def sign_and_verify(signer: Signer, message: bytes) -> bytes:
    """Return the signature of a message. Raises KeyFileError if it does not verify."""
    signature = signer.sign(message)
    problem = signer.public_key.signature_problem(signature, message)
    if problem is not None:
        raise KeyFileError(
            f"the signer for {signer.public_key.hex} returned a signature that does not verify: "
            f"{problem}"
        )
    return signature
