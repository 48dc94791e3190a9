"""URLs of servers: told from paths, and shown without what is secret in them."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit


def is_postgres_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a PostgreSQL server's URL."""
    return re.match(r"postgres(ql)?://", os.fspath(path)) is not None


def redact_url(url: str) -> str:
    """A server's URL as it may be shown: without a user, a password or options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "postgresql://…"
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"
