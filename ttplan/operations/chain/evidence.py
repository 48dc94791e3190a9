"""Proofs, disclosures and checkpoints of a store's chain, and handing it over to another key."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ttplan.apply import StoreChain
from ttplan.audit.c2sp.tlog import Checkpoint
from ttplan.audit.keys.key_files import VerifyingKey
from ttplan.audit.keys.signer import Signer
from ttplan.audit.proofs.customer_checkpoint import (
    CustomerCheckpoint,
    format_customer_checkpoint,
    load_customer_key,
    sign_customer_checkpoint,
)
from ttplan.audit.proofs.disclosure import Disclosure
from ttplan.audit.proofs.disclosure import disclose as disclose_routes
from ttplan.audit.proofs.inclusion import InclusionProof, prove_inclusion
from ttplan.audit.rotation import list_keys, rotation_payload
from ttplan.audit.verify.require import ChainHashes, collect_hashes
from ttplan.history.timeline import APPLIED
from ttplan.model.audit import Actor, Anonymous, AuditEntry
from ttplan.model.errors import AuditError, Cancelled, InputError, KeyFileError, StoreError
from ttplan.model.stored_entry import KEY_ROTATED, StoredEntry
from ttplan.operations.chain.anchors import PublishedAnchor, publish_anchor, verified_tip
from ttplan.operations.chain.transparency_log import sign_log_checkpoint
from ttplan.operations.context import Context, PlanRef, find_plan
from ttplan.store.protocol import Transaction
from ttplan.store.transactions import run_in_transaction
from ttplan.util.files import atomic_write
from ttplan.util.paths import PathLike


def hashes(context: Context, public_key: str | None = None) -> ChainHashes:
    """Collect the chain's hashes and verify them.

    Parameters
    ----------
    public_key : str, optional
        The key that the chain began with, 64 hex digits; the workspace's own if left out.

    Returns
    -------
    ChainHashes
        The organisation and the hash of each entry.

    Raises
    ------
    InputError, ChainError
        If the chain has no entries, or does not verify.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.evidence.hashes().hashes == [entry.hash]
    True
    """
    with context.store.read() as snapshot:
        org_id = snapshot.org_id()
        if org_id is None:
            raise InputError("the chain has no entries yet; apply a plan first")
        if public_key is None:
            current = context.keys.existing().public_key
            first = list_keys(snapshot.entries(org_id), current)[0]
        else:
            first = VerifyingKey.from_hex(public_key)
        return collect_hashes(snapshot.entries(org_id), first)


def anchor(
    context: Context,
    *,
    file: PathLike | None = None,
    command: Sequence[str] | None = None,
    heartbeat: bool = False,
) -> PublishedAnchor:
    """Append where the chain ends to a file of anchors, and pass it to a command.

    Parameters
    ----------
    file : path, optional
        The file of anchors.
    command : sequence of str, optional
        The command to run with the anchor.
    heartbeat : bool, default False
        Append a line even if nothing changed.

    Returns
    -------
    PublishedAnchorCard
        The anchor, and whether it was appended.

    Raises
    ------
    TruncatedChain
        If the chain no longer has the file's last anchor.
    InputError
        If the chain has no entries, or the file or the command fails.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.evidence.anchor(file="anchors.txt").appended
    True
    """
    key = context.keys.existing().public_key
    return publish_anchor(
        context.store, key, context.clock(), file=file, command=command, heartbeat=heartbeat
    )


def prove(context: Context, seq: int) -> InclusionProof:
    """Prove that an entry is in the chain.

    Parameters
    ----------
    seq : int
        The entry's number; the first is 0.

    Returns
    -------
    ProofCard
        The proof, with the root of the chain's Merkle tree.

    Raises
    ------
    ProofError
        If there is no such entry.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.evidence.prove(0).leaf_count
    1
    """
    chain = hashes(context)
    return prove_inclusion(str(chain.org_id), chain.hashes, seq)


def customer_checkpoint(
    context: Context, seed_file: PathLike, output: PathLike
) -> CustomerCheckpoint:
    """Sign where the chain ends with the customer's key, and write that to a new file.

    Parameters
    ----------
    seed_file : path
        A file with the mode 0600 and the 64 hex digits of the customer's seed.
    output : path
        The file to write; it must not exist.

    Returns
    -------
    CustomerCheckpointCard
        What was written.

    Raises
    ------
    KeyFileError, InputError
        If the seed cannot be used, or the file exists.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> Path("seed.hex").touch(mode=0o600)
    >>> _ = Path("seed.hex").write_text("07" * 32)
    >>> ws.evidence.customer_checkpoint("seed.hex", "checkpoint.json").anchor.seq
    0
    """
    customer = load_customer_key(seed_file)
    key = context.keys.existing().public_key
    with context.store.read() as snapshot:
        org_id, tip = verified_tip(snapshot, key)
        first = list_keys(snapshot.entries(org_id), key)[0]
    checkpoint = sign_customer_checkpoint(
        customer, org_id=org_id, verifying_key=first, anchor=tip, at=context.clock()
    )
    with atomic_write(output) as file:
        file.write(format_customer_checkpoint(checkpoint))
    return checkpoint


def sign_tree(context: Context, origin: str, log_key: Signer, state: PathLike) -> Checkpoint:
    """Sign the whole chain as a transparency log.

    Parameters
    ----------
    origin : str
        The log's name: a pseudonym, since checkpoints are public.
    log_key : Signer
        The log's own key, which never signs entries.
    state : path
        The file that remembers the checkpoint that was signed last.

    Returns
    -------
    CheckpointCard
        The signed tree head.

    Raises
    ------
    ProofError
        If the chain does not continue the checkpoint that was signed last.
    InputError
        If the origin names the organisation.

    Examples
    --------
    >>> from ttplan.audit.keys.key_files import create_key
    >>> entry = ws.apply("cheaper")
    >>> ws.evidence.sign_tree("log.example/a", create_key(), "log.state").head.size
    1
    """
    return sign_log_checkpoint(hashes(context), origin, log_key, state)


def disclose(context: Context, plan: PlanRef, checkpoint: Checkpoint) -> Disclosure:
    """Disclose one plan's routes to somebody who has a checkpoint, and nothing else of the chain.

    Parameters
    ----------
    plan : Plan, UUID or str
        The plan, its id, the first digits of its id, or its name.
    checkpoint : Checkpoint
        A signed checkpoint of the chain.

    Returns
    -------
    DisclosureCard
        The routes with their proof.

    Raises
    ------
    PlanNotFound, InputError
        If there is no such plan, or it was never applied.
    ProofError
        If the checkpoint is of another chain, or older than the plan's entry.

    Examples
    --------
    >>> from ttplan.audit.keys.key_files import create_key
    >>> entry = ws.apply("cheaper")
    >>> checkpoint = ws.evidence.sign_tree("log.example/a", create_key(), "log.state")
    >>> len(ws.evidence.disclose("cheaper", checkpoint).routes)
    3
    """
    run = find_plan(context.store, plan)
    entry = _entry_of(context, run.org_id, run.plan_id)
    routes = [route.model_dump(mode="json") for route in run.result.proposed_routes]
    return disclose_routes(routes, run.nonce, entry, hashes(context).hashes, checkpoint)


def rotate_key(
    context: Context, new_key: Signer | None = None, *, actor: Actor | None = None
) -> AuditEntry | None:
    """Hand the chain over to another key.

    Parameters
    ----------
    new_key : Signer, optional
        The key to sign with from now on. If left out, one is created beside the workspace's key
        file and takes its place; the old one is kept beside it.
    actor : User, ApiKey, System or Anonymous, optional
        Who rotates the key. `Anonymous` if left out.

    Returns
    -------
    EntryCard or None
        The audit entry, signed with both keys. None if an earlier rotation was interrupted after
        its entry was written, and is completed now.

    Raises
    ------
    InputError
        If the chain has no entries yet.
    KeyFileError
        If the new key is, or was, one of the chain's keys, or does not sign.
    AuditError
        With ``applied``, if the entry was written but the key file was not replaced.

    Examples
    --------
    >>> entry = ws.apply("cheaper")
    >>> ws.evidence.rotate_key().event
    'audit.key_rotated'
    """
    if new_key is None and context.keys.take_next():
        return None
    new = new_key or context.keys.next_signing()
    entry = append_rotation(context.chain(), new, actor or Anonymous())
    if new_key is None:
        _replace_key_file(context, entry)
    context.keys.use(new)  # also if another process has put it into the file
    return entry


def append_rotation(chain: StoreChain, new: Signer, actor: Actor) -> AuditEntry:
    """Append the entry that hands over from the chain's key to `new`, signed by both.

    Raises InputError if the chain has no entries yet, and KeyFileError if `new` is, or was, one of
    the chain's keys, or does not sign.
    """

    def work(tx: Transaction) -> AuditEntry:
        org_id = tx.org_id()
        tip = None if org_id is None else tx.tip(org_id)
        if org_id is None or tip is None:
            raise InputError(
                "the chain has no entries yet, so there is nothing to hand over; use the new key "
                "from the start"
            )
        if new.public_key in list_keys(tx.entries(org_id), chain.public_key):
            raise KeyFileError(
                f"{new.public_key.hex} is, or was, a key of this chain; rotate to a new one"
            )
        payload = rotation_payload(
            chain.public_key, new, org_id=org_id, seq=tip.seq + 1, prev_hash=tip.hash
        )
        return chain.append(tx, org_id, actor, KEY_ROTATED, payload)

    entry = run_in_transaction(chain.store, work)
    chain.publish(entry)
    return entry


def _replace_key_file(context: Context, entry: AuditEntry) -> None:
    """Put the key that `entry` hands over to in the old one's place."""
    try:
        context.keys.take_next()
    except (StoreError, Cancelled) as error:  # alone it would mean that nothing was written
        raise AuditError(
            f"entry {entry.seq} was committed and hands the chain over, but the new key was not "
            f"put into the old one's place: {error}. Rotate again: that completes it, with the "
            "same key",
            applied=True,
        ) from error


def _entry_of(context: Context, org_id: UUID, plan_id: UUID) -> StoredEntry:
    """The entry that says that a plan was applied. Raises InputError."""
    import orjson

    marks = (f'"event":"{APPLIED}"'.encode(), f'"plan_id":"{plan_id}"'.encode())
    with context.store.read() as snapshot:
        for record in snapshot.entries(org_id):
            if all(mark in record.body for mark in marks):
                body = orjson.loads(record.body)
                if body["event"] == APPLIED and body["payload"].get("plan_id") == str(plan_id):
                    return record
    raise InputError(
        f"plan {plan_id} was never applied, so the chain has no entry of it; apply it first"
    )
