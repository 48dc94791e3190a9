"""A small file that records how far a long verification is, so that it can continue.

The file counts as much as an anchor: it says that all entries up to one were found good, and which
key signs next. It is not signed, so anyone who can write to it can have what follows verified with
a key of their own. So only its owner can read it, it is refused if others can write to it, and a
report that began with it says so.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import orjson

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.strict_json import parse_json
from ttplan.audit.verify.chain import VerifiedPrefix
from ttplan.audit.verify.options import VerifyOptions
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, KeyFileError
from ttplan.util.files import atomic_write, read_small_file
from ttplan.util.paths import PathLike

FORMAT = "ttplan.verification.v1"
_FIELDS = ("format", "asked", "anchor", "key")
_MAX_BYTES = 64 * 1024
_WRITE_INTERVAL = 2.0
"""Seconds between writes; the file is also written if the verification is interrupted."""


class ResumeFile:
    """The file of one verification: where it begins, and how far it is."""

    def __init__(self, path: PathLike) -> None:
        """Read the file, if any. Raises InputError if it is invalid or others can write to it."""
        self.path = Path(path)
        self._end: TipAnchor | None = None
        self._digest: str | None = None
        self._stored_digest: str | None = None
        self._unwritten: VerifiedPrefix | None = None
        self._written_at = time.monotonic()
        self.verified = self._read() if os.path.exists(self.path) else None

    def bind(self, options: VerifyOptions, key: VerifyingKey) -> None:
        """Set what is verified. Raises InputError if the file is of another verification."""
        digest = options.digest(key)
        if self._stored_digest not in (None, digest):
            raise self._invalid("it belongs to a verification with other keys, anchors or options")
        self._digest, self._end = digest, options.anchor

    def note(self, prefix: VerifiedPrefix) -> None:
        """Record progress, and write it if the last write was some seconds ago."""
        if self._end is not None and prefix.anchor.seq > self._end.seq:
            return  # the chain is longer than it must be, and a later run must find that, too
        self._unwritten = prefix
        if time.monotonic() - self._written_at >= _WRITE_INTERVAL:
            self.write()

    def write(self) -> None:
        """Write the recorded progress."""
        if self._unwritten is None or self._digest is None:
            return
        fields = {
            "format": FORMAT,
            "asked": self._digest,
            "anchor": str(self._unwritten.anchor),
            "key": self._unwritten.key,
        }
        with atomic_write(self.path, overwrite=True, private=True) as file:
            file.write(orjson.dumps(fields) + b"\n")
        self._unwritten, self._written_at = None, time.monotonic()

    def finish(self) -> None:
        """Remove the file: the verification has ended, good or bad."""
        self._unwritten = None
        self.path.unlink(missing_ok=True)

    def first_needed_seq(self, since: TipAnchor | None) -> int:
        """Return the seq of the entry from which the verification continues."""
        begin = since if self.verified is None else self.verified.anchor
        return 0 if begin is None else begin.seq

    def _read(self) -> VerifiedPrefix:
        data = read_small_file(self.path, "the state of a verification", limit=_MAX_BYTES)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o022:
            raise InputError(
                f"{self.path} can be written by others (mode {mode:04o}); remove it and start again"
            )
        try:
            fields = parse_json(data)
            if (
                not isinstance(fields, dict)
                or fields.keys() != set(_FIELDS)
                or fields["format"] != FORMAT
            ):
                raise InputError(f"expected {', '.join(_FIELDS)}, the format being {FORMAT}")
            self._stored_digest = str(fields["asked"])
            anchor = TipAnchor.parse(str(fields["anchor"]))
            return VerifiedPrefix(anchor, VerifyingKey.from_hex(str(fields["key"])).hex)
        except (InputError, KeyFileError) as error:
            raise self._invalid(str(error)) from None

    def _invalid(self, why: str) -> InputError:
        return InputError(
            f"{self.path} is not a state to continue from: {why}; remove it and start again"
        )
