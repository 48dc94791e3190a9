"""What of a store convinces others: anchors, proofs, checkpoints, disclosures, and handing over to another key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from ttplan.apply import Clock, StoreChain
from ttplan.audit.c2sp.tlog import Checkpoint
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.proofs.customer_checkpoint import (
    format_customer_checkpoint,
    load_customer_key,
    sign_customer_checkpoint,
)
from ttplan.audit.proofs.disclosure import disclose
from ttplan.audit.proofs.inclusion import prove_inclusion
from ttplan.audit.rotation import list_keys
from ttplan.audit.verify.require import ChainHashes, collect_hashes
from ttplan.display.evidence import (
    CheckpointCard,
    CustomerCheckpointCard,
    DisclosureCard,
    EntryCard,
    ProofCard,
    PublishedAnchorCard,
)
from ttplan.history.timeline import APPLIED
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.errors import AuditError, Cancelled, InputError, StoreError
from ttplan.operations.chain.anchors import checked_tip, publish_anchor
from ttplan.operations.chain.rotation import rotate_key
from ttplan.operations.chain.transparency_log import sign_log
from ttplan.operations.plans.stored_plans import find_plan
from ttplan.store.protocol import Store
from ttplan.util.files import atomic_write
from ttplan.util.paths import PathLike
from ttplan.workspace.keyring import Keyring

if TYPE_CHECKING:
    from ttplan.model.audit import StoredEntry


class Evidence:
    """The verbs that make evidence of a workspace's chain. Had by `Workspace.evidence`."""

    def __init__(
        self, store: Store, keys: Keyring, chain: Callable[[], StoreChain], *, clock: Clock
    ) -> None:
        self._store = store
        self._keys = keys
        self._chain = chain
        self._clock = clock

    def hashes(self, public_key: str | None = None) -> ChainHashes:
        """The chain's hashes, verified with `public_key`, its first one, or its own. Raises what `verify_chain` does."""
        with self._store.read() as snapshot:
            org_id = snapshot.org_id()
            if org_id is None:
                raise InputError("the chain has no entries yet; apply a plan first")
            given = None if public_key is None else VerifyingKey.from_hex(public_key)
            first = given or list_keys(snapshot.entries(org_id), self._keys.signing().public_key)[0]
            return collect_hashes(snapshot.entries(org_id), first)

    def anchor(
        self,
        *,
        file: PathLike | None = None,
        command: Sequence[str] | None = None,
        heartbeat: bool = False,
    ) -> PublishedAnchorCard:
        """Where the chain ends now, appended to a file of anchors and handed to a command, each where it is given.

        With `heartbeat` the file gets a line even where nothing changed. Raises TruncatedChain where the chain has not the file's
        last anchor any more, and InputError where it has no entries, or the file or the command does not take it.
        """
        key = self._keys.signing().public_key
        return PublishedAnchorCard(
            *publish_anchor(
                self._store, key, self._clock(), file=file, command=command, heartbeat=heartbeat
            )
        )

    def prove(self, seq: int) -> ProofCard:
        """That entry `seq` is in the chain as it is now, in the ecosystem's form. Raises ProofError where there is none."""
        found = self.hashes()
        return ProofCard(*prove_inclusion(str(found.org_id), found.hashes, seq))

    def customer_checkpoint(self, seed_file: PathLike, output: PathLike) -> CustomerCheckpointCard:
        """Where the chain ends now, signed with the customer's key, written to a file that must not be there yet.

        `seed_file` has the 64 hex digits of the customer's seed and the mode 0600. Raises KeyFileError and InputError.
        """
        customer = load_customer_key(seed_file)
        key = self._keys.signing().public_key
        with self._store.read() as snapshot:
            org_id, tip = checked_tip(snapshot, key)
            first = list_keys(snapshot.entries(org_id), key)[0]
        made = sign_customer_checkpoint(
            customer, org_id=org_id, verifying_key=first, anchor=tip, at=self._clock()
        )
        with atomic_write(output) as file:
            file.write(format_customer_checkpoint(made))
        return CustomerCheckpointCard(*made)

    def sign_tree(self, origin: str, log_key: Signer, state: PathLike) -> CheckpointCard:
        """The chain as the log `origin`, a pseudonym: a checkpoint signed with the log's own key, which `state` remembers.

        Raises ProofError where the chain does not go on from the checkpoint that was signed last.
        """
        return CheckpointCard(*sign_log(self.hashes(), origin, log_key, state))

    def disclose(self, plan_id: UUID | str, checkpoint: Checkpoint) -> DisclosureCard:
        """What shows one plan's routes to who has the checkpoint, and nothing else of the chain.

        Raises PlanNotFound, InputError where the plan was never applied, and ProofError where the checkpoint is not of this
        chain or before the plan's entry.
        """
        run = find_plan(self._store, plan_id)
        entry = self._entry_of(run.org_id, run.plan_id)
        routes = [route.model_dump(mode="json") for route in run.result.proposed_routes]
        return DisclosureCard(*disclose(routes, run.nonce, entry, self.hashes().hashes, checkpoint))

    def rotate_key(
        self, new_key: Signer | None = None, *, actor: Actor | None = None
    ) -> EntryCard | None:
        """Hand the chain over to `new_key`, and return the entry that does, signed by both.

        Without `new_key` one is made beside the workspace's key file and takes its place; the old one is kept beside it. None
        where that had been broken off after the entry was written, and is finished now. Raises InputError and KeyFileError.
        """
        if new_key is None and self._keys.take_next():
            return None
        new = new_key or self._keys.next_signing()
        entry = rotate_key(self._chain(), new, actor or Anonymous())
        if new_key is None:
            self._finish(entry)
        self._keys.use(new)  # also where another process has put it into the file
        return EntryCard.of(entry)

    def _finish(self, entry: AuditEntry) -> None:
        """Put the key that `entry` hands over to in the old one's place. AuditError, with `applied`, where that cannot be."""
        try:
            self._keys.take_next()
        except (
            StoreError,
            Cancelled,
        ) as error:  # which by itself would mean that nothing was written
            raise AuditError(
                f"entry {entry.seq} was committed and hands the chain over, but the new key was not put into the old one's "
                f"place: {error}. Rotate again: that is finished then, with the same key",
                applied=True,
            ) from error

    def _entry_of(self, org_id: UUID, plan_id: UUID) -> StoredEntry:
        """The entry that says that a plan was applied."""
        import orjson

        marks = (f'"event":"{APPLIED}"'.encode(), f'"plan_id":"{plan_id}"'.encode())
        with self._store.read() as snapshot:
            for record in snapshot.entries(org_id):
                if all(mark in record.body for mark in marks):
                    body = orjson.loads(record.body)
                    if body["event"] == APPLIED and body["payload"].get("plan_id") == str(plan_id):
                        return record
        raise InputError(
            f"plan {plan_id} was never applied, so no entry speaks of its routes; apply it first"
        )
