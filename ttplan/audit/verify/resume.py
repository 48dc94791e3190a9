"""How far a long verification has come, kept in a small file so that one that was interrupted can go on.

The file is worth what an anchor is worth, and no more: it says that all entries up to one were found good, and which key signs
from there on. Nobody signs it, so whoever can write to it can have what follows verified with a key of theirs. It is therefore
made readable by its owner only, refused where others may write to it, and a report that began with it says so.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import NamedTuple

import orjson
from blake3 import blake3

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.strict_json import parse_json
from ttplan.audit.verify.chain import SignatureScope, VerifiedPrefix
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, KeyFileError
from ttplan.util.files import atomic_write, read_small_file

FORMAT = "ttplan.verification.v1"
_KEYS = ("format", "asked", "anchor", "key")
_MAX_FILE = 64 * 1024
_EVERY = 2.0
"""The file is written so often, in seconds, and when the verification is interrupted."""


class Asked(NamedTuple):
    """What a verification was asked; with another question it does not go on, since what was checked so far would be another
    thing."""

    public_key: VerifyingKey
    signatures: SignatureScope
    since: TipAnchor | None
    anchor: TipAnchor | None
    passes_through: tuple[TipAnchor, ...]
    distrust_after: TipAnchor | None

    @property
    def digest(self) -> str:
        """The question as 64 hex digits."""
        anchors = sorted(str(anchor) for anchor in self.passes_through)
        asked = (self.public_key.hex, self.signatures, self.since, self.anchor, self.distrust_after)
        parts = [*map(str, asked), *anchors]
        return blake3("\n".join(parts).encode()).hexdigest()


class ResumeFile:
    """The file of one verification: where it begins, and how far it has come."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises InputError where there is such a file, and it is none, or others may write to it."""
        self.path = Path(path)
        self._asked: Asked | None = None
        self._digest: str | None = None
        self._unwritten: VerifiedPrefix | None = None
        self._written_at = time.monotonic()
        self.reached = self._read() if os.path.exists(self.path) else None

    def bind(self, asked: Asked) -> None:
        """Say what this verification was asked. Raises InputError where the file is of another question."""
        if self._digest not in (None, asked.digest):
            raise self._none(
                "it is of a verification with another key, other anchors, or of the other strength"
            )
        self._asked = asked

    def note(self, reached: VerifiedPrefix) -> None:
        """The verification has come so far."""
        end = None if self._asked is None else self._asked.anchor
        if end is not None and reached.anchor.seq > end.seq:
            return  # the chain goes on after where it has to end, and a later run has to see that, too
        self._unwritten = reached
        if time.monotonic() - self._written_at >= _EVERY:
            self.write()

    def write(self) -> None:
        """Write down how far it has come."""
        if self._unwritten is None or self._asked is None:
            return
        fields = {
            "format": FORMAT,
            "asked": self._asked.digest,
            "anchor": str(self._unwritten.anchor),
            "key": self._unwritten.key,
        }
        with atomic_write(self.path, overwrite=True) as file:
            os.chmod(file.name, 0o600)
            file.write(orjson.dumps(fields) + b"\n")
        self._unwritten, self._written_at = None, time.monotonic()

    def finish(self) -> None:
        """The verification has come to an end, good or bad: another one begins anew."""
        self._unwritten = None
        self.path.unlink(missing_ok=True)

    def _read(self) -> VerifiedPrefix:
        data = read_small_file(self.path, "the state of a verification", limit=_MAX_FILE)
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if mode & 0o022:
            raise InputError(
                f"{self.path} can be written by others (mode {mode:04o}); remove it and begin anew"
            )
        try:
            fields = parse_json(data)
            if (
                not isinstance(fields, dict)
                or fields.keys() != set(_KEYS)
                or fields["format"] != FORMAT
            ):
                raise InputError(f"expected {', '.join(_KEYS)}, the format being {FORMAT}")
            self._digest = str(fields["asked"])
            return VerifiedPrefix(
                TipAnchor.parse(str(fields["anchor"])),
                VerifyingKey.from_hex(str(fields["key"])).hex,
            )
        except (InputError, KeyFileError) as error:
            raise self._none(str(error)) from None

    def _none(self, why: str) -> InputError:
        return InputError(f"{self.path} is no state to go on from: {why}; remove it and begin anew")


def first_needed(since: TipAnchor | None, kept: ResumeFile | None) -> int:
    """The seq of the first entry that a verification looks at: that which it goes on from."""
    begin = since if kept is None or kept.reached is None else kept.reached.anchor
    return 0 if begin is None else begin.seq
