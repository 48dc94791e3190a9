"""What a verification checks: one object that every layer passes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from blake3 import blake3

from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError
from ttplan.util.paths import PathLike

SignatureScope = Literal["all", "tip"]
"""Which signatures are checked: every one, or only the last one of each key."""
EMPTY_CHAIN = "empty"
"""The anchor of a chain without entries."""


def parse_org(text: UUID | str | None) -> UUID | None:
    """Return an organisation. Raises InputError if the text is not a UUID."""
    if not isinstance(text, str):
        return text
    try:
        return UUID(text)
    except ValueError:
        raise InputError(f"org_id is {text[:80]!r}; expected the organisation's UUID") from None


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """What a verification checks, and how strictly.

    Attributes
    ----------
    public_key
        The chain's first key, or the one that signs after `since`. None uses the key that comes
        with the chain, and the verdict is then at most "consistent with its own key".
    signatures
        "all" checks every signature. "tip" recomputes every hash and checks the last signature of
        each key, which vouches for the content of all entries before it.
    since
        A trusted entry. Only the entries after it are checked.
    anchor
        The entry at which the chain must end.
    expect_empty
        Whether the chain must have no entries: the anchor `empty`.
    passes_through
        Entries that the chain must contain, sorted by seq.
    org_id
        The organisation whose chain it must be.
    distrust_after
        The entry after which nothing is trusted that the same key signed, not even a rotation.
    on_fork
        Receives the evidence, as a file's content, if the chain has two signed entries at one seq.
    resume
        The file that records how far the verification is, so that an interrupted one can continue.
    """

    public_key: VerifyingKey | None = None
    signatures: SignatureScope = "all"
    since: TipAnchor | None = None
    anchor: TipAnchor | None = None
    expect_empty: bool = False
    passes_through: tuple[TipAnchor, ...] = ()
    org_id: UUID | None = None
    distrust_after: TipAnchor | None = None
    on_fork: Callable[[bytes], None] | None = None
    resume: PathLike | None = None

    @classmethod
    def parse(
        cls,
        *,
        public_key: str | VerifyingKey | None = None,
        signatures: SignatureScope = "all",
        since: str | TipAnchor | None = None,
        anchor: str | TipAnchor | None = None,
        passes_through: Iterable[TipAnchor] = (),
        org_id: UUID | str | None = None,
        distrust_after: TipAnchor | None = None,
        on_fork: Callable[[bytes], None] | None = None,
        resume: PathLike | None = None,
    ) -> VerifyOptions:
        """Accept keys and anchors as text, too.

        Raises KeyFileError for a key that must not be trusted, and InputError for a malformed
        anchor.
        """
        if isinstance(public_key, str):
            public_key = VerifyingKey.from_hex(public_key)
        expect_empty = anchor == EMPTY_CHAIN
        if expect_empty:
            anchor = None
        return cls(
            public_key=public_key,
            signatures=signatures,
            since=TipAnchor.parse(since) if isinstance(since, str) else since,
            anchor=TipAnchor.parse(anchor) if isinstance(anchor, str) else anchor,
            expect_empty=expect_empty,
            passes_through=tuple(passes_through),
            org_id=parse_org(org_id),
            distrust_after=distrust_after,
            on_fork=on_fork,
            resume=resume,
        )

    @property
    def all_signatures(self) -> bool:
        """Whether every signature is checked."""
        return self.signatures == "all"

    @property
    def required_anchors(self) -> tuple[TipAnchor, ...]:
        """The anchors whose entries the chain must contain, sorted by seq but for the last.

        Raises InputError if one is before `since`, where the chain is not looked at.
        """
        end = () if self.anchor is None else (self.anchor,)
        through = sorted((*self.passes_through, *end), key=lambda anchor: anchor.seq)
        distrust = () if self.distrust_after is None else (self.distrust_after,)
        anchors = (*through, *distrust)
        for anchor in anchors:
            if self.since is not None and anchor.seq < self.since.seq:
                raise InputError(
                    f"the anchor {anchor} is before {self.since}, where the verification begins; "
                    "leave out one of them"
                )
        return anchors

    def digest(self, key: VerifyingKey) -> str:
        """What is verified, with `key`, as 64 hex digits: equal digests make progress reusable."""
        anchors = sorted(str(anchor) for anchor in self.passes_through)
        fields = (key.hex, self.signatures, self.since, self.anchor, self.distrust_after)
        if self.org_id is not None:
            anchors.append(str(self.org_id))
        return blake3("\n".join([*map(str, fields), *anchors]).encode()).hexdigest()
