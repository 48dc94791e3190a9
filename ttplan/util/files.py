"""Reading small files up to a limit, and writing files that appear whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike


def read_small_file(path: PathLike, what: str, *, limit: int) -> bytes:
    """Return the bytes of a file. Raises InputError if it is unreadable or larger than `limit`."""
    file = Path(path)
    try:
        with file.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{file}: {reason}; expected {what}") from None
    if len(data) > limit:
        raise InputError(f"{file} has more than {limit:,} bytes; expected {what}")
    return data


def first_bytes(path: PathLike, count: int) -> bytes:
    """The first bytes of a file, at most `count`; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


@contextmanager
def atomic_write(
    path: PathLike, *, overwrite: bool = False, private: bool = False
) -> Iterator[BinaryIO]:
    """Open a file that appears complete when the block ends, or not at all after an error.

    A `private` file, such as one with nonces or bodies of requests, is only its owner's (mode
    0600), whatever the umask.

    Raises InputError if the file exists, unless `overwrite`, or if it cannot be written.
    """
    target = Path(path)
    # Not Path.exists, which raises if the folder may not be entered.
    if os.path.exists(target) and not overwrite:
        raise InputError(
            f"{target} exists already; choose another path, or allow it to be overwritten"
        )
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        handle = os.open(draft, flags, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise InputError(
            f"{target} cannot be written: {error.strerror}; choose a folder that this user may "
            "write to"
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def remove_temporary_files(path: PathLike, *, older_than: float = 60.0) -> None:
    """Remove what killed processes left of an `atomic_write`, if older than so many seconds."""
    target = Path(path)
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.new")
    with suppress(OSError):  # the write that follows reports a problem with the folder
        for file in os.scandir(target.parent):
            if name.fullmatch(file.name) and time.time() - file.stat().st_mtime > older_than:
                os.unlink(file)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, if the system supports it."""
    # The file is complete already; a power failure could only undo its new name.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
