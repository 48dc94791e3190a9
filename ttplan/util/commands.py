"""A command of the user's choice: given bytes, it gives bytes back. No shell is involved."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from ttplan.model.errors import InputError


def parse_command(text: str, what: str) -> list[str]:
    """A command line as its words, as a shell would split them. Raises InputError where there are none."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InputError(f"{what} is no command: {error}") from None
    if not words:
        raise InputError(f"{what} is empty; expected a command")
    return words


def run_command(command: Sequence[str], data: bytes, *, timeout: float) -> bytes:
    """What a command writes that reads `data`. Raises InputError where it fails, or takes longer than `timeout`, in seconds."""
    try:
        done = subprocess.run(
            list(command), input=data, capture_output=True, timeout=timeout, check=True
        )  # noqa: S603
    except subprocess.TimeoutExpired:
        raise InputError(f"the command {command[0]} did not end within {timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[:200] or "no message"
        raise InputError(
            f"the command {command[0]} failed (exit code {error.returncode}): {said}"
        ) from None
    except OSError as error:
        raise InputError(f"the command {command[0]} cannot be run: {error.strerror}") from None
    return done.stdout
