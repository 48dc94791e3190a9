"""Cards of audit entries and of what proves a chain to others. Each equals the plain object that it
shows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import orjson

from ttplan.audit.c2sp.tlog import Checkpoint
from ttplan.audit.proofs.customer_checkpoint import CustomerCheckpoint
from ttplan.audit.proofs.disclosure import Disclosure
from ttplan.audit.proofs.inclusion import InclusionProof
from ttplan.display.amounts import plural
from ttplan.display.card import Card, Renders, Table
from ttplan.model.audit import AuditEntry
from ttplan.operations.chain.anchors import PublishedAnchor
from ttplan.operations.stores.copy import StoreCopy


def fields_card(label: str, title: str, fields: Iterable[tuple[str, str]]) -> Card:
    """A card of names and values."""
    return Card(label, title, tables=(Table.of(fields),))


class EntryCard(Renders, AuditEntry):
    """An entry of the audit chain."""

    __slots__ = ()

    @classmethod
    def of(cls, entry: AuditEntry) -> EntryCard:
        """The same entry, which shows itself as a card."""
        return cls(**{field.name: getattr(entry, field.name) for field in fields(entry)})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AuditEntry) and self.to_dict() == other.to_dict()

    __hash__ = AuditEntry.__hash__
    __repr__ = __str__ = Renders.__repr__

    def card(self) -> Card:
        actor = self.actor.to_dict()
        fields = [
            ("by", " ".join([actor.pop("type"), *actor.values()])),
            ("at", self.timestamp),
            *((name, _payload_value(value)) for name, value in self.payload.items()),
            ("hash", self.hash),
        ]
        return fields_card("entry", f"entry {self.seq} of the audit chain: {self.event}", fields)


def _payload_value(value: Any) -> str:
    if isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


class ProofCard(Renders, InclusionProof):
    """A proof that an entry is in the chain."""

    __slots__ = ()

    def card(self) -> Card:
        fields = [
            ("chain", self.chain_id),
            ("entries in the tree", f"{self.leaf_count:,}"),
            ("root", self.root),
            ("path", f"{plural(len(self.path), 'hash', 'hashes')}, leaf to root"),
        ]
        return fields_card("proof", f"proof that entry {self.leaf_index} is in the chain", fields)


class CheckpointCard(Renders, Checkpoint):
    """A signed tree head."""

    __slots__ = ()

    def card(self) -> Card:
        fields = [("root", self.head.root.hex())]
        fields += [
            ("signed as", f"{signature.name}, key {signature.key_id.hex()}")
            for signature in self.note.signatures
        ]
        title = f"checkpoint of {self.head.origin}: {plural(self.head.size, 'entry', 'entries')}"
        return fields_card("checkpoint", title, fields)


class CustomerCheckpointCard(Renders, CustomerCheckpoint):
    """A checkpoint that the customer signed."""

    __slots__ = ()

    def card(self) -> Card:
        fields = [
            ("organisation", str(self.org_id)),
            ("chain's key", self.verifying_key),
            ("ends at", str(self.anchor)),
            ("signed at", self.timestamp),
            ("by the customer's key", self.key_identity),
        ]
        count = plural(self.anchor.seq + 1, "entry", "entries")
        return fields_card("checkpoint", f"customer checkpoint: {count}", fields)


class DisclosureCard(Renders, Disclosure):
    """A disclosure of one plan's routes, without the routes themselves."""

    __slots__ = ()

    def card(self) -> Card:
        fields = [
            ("routes", f"{len(self.routes):,}"),
            ("entry", f"{self.entry.seq}, {self.entry.hash}"),
            ("checkpoint of", plural(self.leaf_count, "entry", "entries")),
        ]
        return fields_card("disclosure", "disclosure of one plan's routes", fields)


class PublishedAnchorCard(Renders, PublishedAnchor):
    """An anchor that was published."""

    __slots__ = ()

    def card(self) -> Card:
        appended = "appended to it" if self.appended else "nothing appended"
        fields = [("anchor", str(self.tip)), ("file of anchors", appended)]
        return fields_card("anchor", "anchor: where the chain ends", fields)


class StoreCopyCard(Renders, StoreCopy):
    """A copy of a store."""

    __slots__ = ()

    def card(self) -> Card:
        fields = [
            ("plans", f"{self.plans:,}"),
            ("live routes", f"{self.routes:,}"),
            ("entries", f"{self.entries:,}"),
            ("requests", f"{self.requests:,}"),
            ("chain ends at", "no entries yet" if self.anchor is None else str(self.anchor)),
            ("chain", self.chain),
        ]
        return fields_card("copy", f"copied: organisation {self.org_id}", fields)
