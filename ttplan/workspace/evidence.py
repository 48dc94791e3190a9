"""The namespace `ws.evidence`: what of a store's chain convinces others."""

from __future__ import annotations

from ttplan.display.evidence import (
    CheckpointCard,
    CustomerCheckpointCard,
    DisclosureCard,
    ProofCard,
    PublishedAnchorCard,
)
from ttplan.operations.chain import evidence
from ttplan.workspace.base import Bindable, bound, entry_card_or_none, unpacked


class Evidence(Bindable):
    """Anchors, proofs, checkpoints and disclosures of a chain, and handing it to another key."""

    hashes = bound(evidence.hashes)
    anchor = bound(evidence.anchor, unpacked(PublishedAnchorCard))
    prove = bound(evidence.prove, unpacked(ProofCard))
    customer_checkpoint = bound(evidence.customer_checkpoint, unpacked(CustomerCheckpointCard))
    sign_tree = bound(evidence.sign_tree, unpacked(CheckpointCard))
    disclose = bound(evidence.disclose, unpacked(DisclosureCard))
    rotate_key = bound(evidence.rotate_key, entry_card_or_none)
