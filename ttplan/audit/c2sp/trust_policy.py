"""Trust policies: trusted logs and witnesses, and the required quorum (c2sp.org/tlog-policy).

The file is octets: names are compared unchanged, and only spaces and tabs separate words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ttplan.audit.c2sp.note import (
    COSIGNATURE,
    ML_DSA_44,
    VerifiedSignature,
    VerifierKey,
    check_note,
    parse_vkey,
)
from ttplan.audit.c2sp.tlog import Checkpoint
from ttplan.model.errors import InputError, ProofError

MAX_POLICY = 2**20
"""The largest policy, in bytes."""
_NONE = b"none"
_WORDS = re.compile(rb"[ \t]+")
_FOREIGN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_COUNT = re.compile(rb"[1-9][0-9]{0,3}")


class WitnessGroup(NamedTuple):
    """Names of witnesses and groups, and how many of them the group needs."""

    threshold: int
    members: tuple[bytes, ...]


class TrustPolicy(NamedTuple):
    """A trust policy: logs, witnesses and groups, and the quorum's name (None: no witnesses)."""

    logs: tuple[VerifierKey, ...]
    witnesses: dict[bytes, VerifierKey]
    groups: dict[bytes, WitnessGroup]
    quorum: bytes | None


class AcceptedCheckpoint(NamedTuple):
    """An accepted checkpoint: the signature of a trusted log, and those of witnesses."""

    log: VerifiedSignature
    witnesses: tuple[VerifiedSignature, ...]


def parse_trust_policy(data: bytes, name: str) -> TrustPolicy:
    """Parse a policy file. Raises InputError that names file and line."""
    if len(data) > MAX_POLICY:
        raise InputError(f"{name} has more than {MAX_POLICY:,} bytes; expected a trust policy")
    parser = _Parser()
    lines = data.split(b"\n")
    if lines[-1] != b"":
        raise InputError(f"{name}: its last line does not end in a line feed; was it cut off?")
    for number, line in enumerate(lines[:-1], 1):
        try:
            parser.parse_line(line)
        except InputError as error:
            raise InputError(f"{name}, line {number}: {error}") from None
    if not parser.has_quorum:
        raise InputError(
            f"{name} has no line with its quorum; expected `quorum <name>`, or `quorum none`"
        )
    return TrustPolicy(tuple(parser.logs), parser.witnesses, parser.groups, parser.quorum)


def check_trust_policy(checkpoint: Checkpoint, policy: TrustPolicy) -> AcceptedCheckpoint:
    """Check that a trusted log signed its checkpoint, and that enough witnesses cosigned it.

    Raises ProofError if not, or if a known key's signature is invalid.
    """
    origin = checkpoint.head.origin
    logs = [log for log in policy.logs if log.name == origin]
    if not logs:
        raise ProofError(f"the checkpoint is of the log {origin}, which the policy does not know")
    signatures = check_note(checkpoint.note, [*logs, *policy.witnesses.values()])
    by_log = next((signature for signature in signatures if signature.key in logs), None)
    if by_log is None:
        raise ProofError(f"the log {origin} has not signed its checkpoint with a key of the policy")
    keys = {signature.key for signature in signatures}
    if policy.quorum is not None and not _is_reached(policy, policy.quorum, keys):
        cosigners = [
            name.decode(errors="replace") for name, key in policy.witnesses.items() if key in keys
        ]
        raise ProofError(
            f"the quorum {policy.quorum.decode(errors='replace')} is not reached; cosigned by: "
            f"{', '.join(cosigners) or 'none'}"
        )
    witnesses = set(policy.witnesses.values())
    return AcceptedCheckpoint(
        by_log, tuple(signature for signature in signatures if signature.key in witnesses)
    )


def _is_reached(policy: TrustPolicy, name: bytes, keys: set[VerifierKey]) -> bool:
    if name in policy.witnesses:
        return policy.witnesses[name] in keys
    group = policy.groups[name]
    return sum(_is_reached(policy, member, keys) for member in group.members) >= group.threshold


class _Parser:
    """Parses lines in order. Names are defined before use, so no group can contain itself."""

    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[bytes, VerifierKey] = {}
        self.groups: dict[bytes, WitnessGroup] = {}
        self.quorum: bytes | None = None
        self.has_quorum = False
        self._members: set[bytes] = set()
        self._statements: dict[bytes, Callable[[list[bytes]], None]] = {
            b"log": self._log,
            b"witness": self._witness,
            b"group": self._group,
            b"quorum": self._quorum,
        }

    def parse_line(self, line: bytes) -> None:
        """Parse the next line. Raises InputError without the line number."""
        if _FOREIGN.search(line):
            raise InputError("it has a control character; expected only tabs")
        words = [word for word in _WORDS.split(line) if word]
        if not words or words[0].startswith(b"#"):
            return
        parse = self._statements.get(words[0])
        if parse is None:
            raise InputError(
                f"it begins with {words[0][:40].decode(errors='replace')!r}; expected log, "
                "witness, "
                "group or quorum"
            )
        parse(words[1:])

    def _log(self, words: list[bytes]) -> None:
        if len(words) not in (1, 2):
            raise InputError("expected `log <vkey> [<url>]`")
        key = _vkey(words[0])
        if any(key.raw == log.raw for log in self.logs):
            raise InputError(
                f"the key of the log {key.name} appears twice; expected every log once"
            )
        self.logs.append(key)

    def _witness(self, words: list[bytes]) -> None:
        if len(words) not in (2, 3):
            raise InputError("expected `witness <name> <vkey> [<url>]`")
        key = _vkey(words[1])
        if key.kind not in (COSIGNATURE, ML_DSA_44):
            raise InputError(
                f"the key of {key.name} is of type 0x{key.kind:02x}; expected a cosigning key, "
                "0x04 or 0x06"
            )
        if any(key.raw == other.raw for other in self.witnesses.values()):
            raise InputError(
                f"the key of the witness {key.name} appears twice; expected every witness once"
            )
        self._check_new(words[0])
        self.witnesses[words[0]] = key

    def _group(self, words: list[bytes]) -> None:
        if len(words) < 3:
            raise InputError("expected `group <name> all|any|<k> <name>...`")
        name, threshold, *members = words
        self._check_new(name)
        for member in members:
            self._check_known(member)
            if member in self._members:
                raise InputError(
                    f"{_shown(member)} is a member twice; expected every name in one place"
                )
            self._members.add(member)
        count = {b"all": len(members), b"any": 1}.get(threshold)
        if count is None:
            count = int(threshold) if _COUNT.fullmatch(threshold) else 0
        if not 1 <= count <= len(members):
            raise InputError(
                f"the threshold is {_shown(threshold)}; expected all, any, or 1 to {len(members)}"
            )
        self.groups[name] = WitnessGroup(count, tuple(members))

    def _quorum(self, words: list[bytes]) -> None:
        if len(words) != 1:
            raise InputError("expected `quorum <name>`, or `quorum none`")
        if self.has_quorum:
            raise InputError("a second quorum; expected one")
        if words[0] != _NONE:
            self._check_known(words[0])
            self.quorum = words[0]
        self.has_quorum = True

    def _check_new(self, name: bytes) -> None:
        if name == _NONE or name in self.witnesses or name in self.groups:
            raise InputError(f"the name {_shown(name)} is taken; expected a new one")

    def _check_known(self, name: bytes) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise InputError(
                f"the name {_shown(name)} is not defined; expected one of an earlier line"
            )


def _vkey(word: bytes) -> VerifierKey:
    try:
        return parse_vkey(word.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError("a verifier key that is not UTF-8") from None


def _shown(name: bytes) -> str:
    return repr(name[:60].decode(errors="replace"))
