"""What convinces others of a chain, told to a person. Each is the tuple that it is, and equal to it."""

from __future__ import annotations

from ttplan.audit.c2sp.tlog import Checkpoint
from ttplan.audit.proofs.customer_checkpoint import CustomerCheckpoint
from ttplan.audit.proofs.disclosure import Disclosure
from ttplan.audit.proofs.inclusion import InclusionProof
from ttplan.display.fields import fields_html, fields_text
from ttplan.operations.chain.anchors import Published
from ttplan.operations.stores.copy import Copied

_Told = tuple[str, str, list[tuple[str, str]]]


class _Shown:
    """Shows itself by a label, a title and fields."""

    __slots__ = ()

    def _told(self) -> _Told:
        raise NotImplementedError

    def __repr__(self) -> str:
        _, title, fields = self._told()
        return fields_text(title, fields)

    def _repr_html_(self) -> str:
        return fields_html(*self._told())


class ShownProof(_Shown, InclusionProof):
    """A proof that shows itself."""

    __slots__ = ()

    def _told(self) -> _Told:
        fields = [
            ("chain", self.chain_id),
            ("of entries", f"{self.leaf_count:,}"),
            ("root", self.root),
        ]
        fields += [("path", f"{len(self.path):,} hashes, leaf to root")]
        return "proof", f"proof that entry {self.leaf_index} is in the chain", fields


class ShownCheckpoint(_Shown, Checkpoint):
    """A signed tree head that shows itself."""

    __slots__ = ()

    def _told(self) -> _Told:
        fields = [("root", self.head.root.hex())]
        fields += [
            ("signed as", f"{one.name}, key {one.key_id.hex()}") for one in self.note.signatures
        ]
        return "checkpoint", f"checkpoint of {self.head.origin}: {self.head.size:,} entries", fields


class ShownCustomerCheckpoint(_Shown, CustomerCheckpoint):
    """A customer's checkpoint that shows itself."""

    __slots__ = ()

    def _told(self) -> _Told:
        fields = [
            ("organisation", str(self.org_id)),
            ("chain's key", self.verifying_key),
            ("ends at", str(self.anchor)),
        ]
        fields += [("signed at", self.timestamp), ("by the customer's key", self.key_identity)]
        return "checkpoint", f"customer checkpoint: {self.anchor.seq + 1:,} entries", fields


class ShownDisclosure(_Shown, Disclosure):
    """A disclosure that shows itself, without what it discloses."""

    __slots__ = ()

    def _told(self) -> _Told:
        fields = [
            ("routes", f"{len(self.routes):,}"),
            ("of the entry", f"{self.entry.seq}, {self.entry.hash}"),
        ]
        fields += [("for a checkpoint of", f"{self.leaf_count:,} entries")]
        return "disclosure", "disclosure of one plan's routes", fields


class ShownPublished(_Shown, Published):
    """An anchor that was handed on, and shows itself."""

    __slots__ = ()

    def _told(self) -> _Told:
        appended = "appended to it" if self.appended else "nothing appended"
        return (
            "anchor",
            "anchor: where the chain ends",
            [("anchor", str(self.tip)), ("file of anchors", appended)],
        )


class ShownCopied(_Shown, Copied):
    """A copy of a store that shows itself."""

    __slots__ = ()

    def _told(self) -> _Told:
        counted = {
            "plans": self.plans,
            "live routes": self.routes,
            "entries": self.entries,
            "requests": self.requests,
        }
        fields = [(name, f"{count:,}") for name, count in counted.items()]
        fields += [
            ("its chain ends at", "nowhere yet" if self.anchor is None else str(self.anchor)),
            ("its chain is", self.chain),
        ]
        return "copy", f"copied: organisation {self.org_id}", fields
