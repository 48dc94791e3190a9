"""Commands that the user configures: they read bytes and write bytes. No shell is involved."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from ttplan.model.errors import InputError


def parse_command(text: str, what: str) -> list[str]:
    """Split a command line as a shell would. Raises InputError if it is empty or malformed."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"{what} is not a command: {error}") from None
    if not words:
        raise InputError(f"{what} is empty; expected a command")
    return words


def run_command(command: Sequence[str], data: bytes, *, timeout: float) -> bytes:
    """Run a command with `data` on its standard input and return its output.

    Raises InputError if it fails, or takes longer than `timeout` seconds.
    """
    try:
        process = subprocess.run(  # noqa: S603 - the user configured it
            list(command), input=data, capture_output=True, timeout=timeout, check=True
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"the command {command[0]} did not end within {timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").strip()[:200] or "no message"
        raise InputError(
            f"the command {command[0]} failed (exit code {error.returncode}): {message}"
        ) from None
    except OSError as error:
        raise InputError(f"the command {command[0]} cannot be run: {error.strerror}") from None
    return process.stdout
