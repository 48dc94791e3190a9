"""Paths of files and stores: the shared type, and URLs of PostgreSQL servers."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from ttplan.model.errors import InputError

PathLike = str | os.PathLike[str]
"""A file system path, or the URL of a PostgreSQL store where a store is expected."""


def is_postgres_url(path: PathLike) -> bool:
    """Return whether a path is the URL of a PostgreSQL server."""
    return re.match(r"postgres(ql)?://", os.fspath(path)) is not None


def redact_url(url: str) -> str:
    """Return a server's URL without user, password and options, so that it can be shown."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql://…"
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def file_exists(path: PathLike) -> bool:
    """Return whether a file exists. Raises InputError if the folder may not be searched."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(
            f"{os.fspath(path)} cannot be accessed: {reason}; choose a path that this user may use"
        ) from None
    return True
