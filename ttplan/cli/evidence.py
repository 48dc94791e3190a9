"""Commands that make evidence for others: exports, anchors, proofs, disclosures, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.options import (
    DEFAULT_STORE,
    PROVE,
    ChainOption,
    JsonOption,
    KeyFileOption,
    KeyHexOption,
    LogOption,
    OutputOption,
    OverwriteOption,
    PlanArgument,
    PolicyOption,
    StoreOption,
    app,
    argument,
    command_group,
    open_store,
    option,
    read_uuid,
)
from ttplan.cli.output import count, show_value
from ttplan.cli.verify import chain_hashes
from ttplan.model.errors import InputError, ProofError

checkpoint_app = command_group(
    "checkpoint", "Customer checkpoints: the end of the chain, signed by the customer."
)
SignedCheckpointOption = Annotated[
    Path, option("A signed checkpoint, from `ttplan tlog checkpoint`.", "--checkpoint")
]


@app.command("export-chain", rich_help_panel=PROVE)
def export_chain(
    output: Annotated[Path, argument("The file to write, as JSON lines.")],
    store: StoreOption = DEFAULT_STORE,
    until: Annotated[
        int | None, option("The seq of the last entry to write; default: all.")
    ] = None,
    with_verifier: Annotated[
        bool,
        option(
            "Write verify_chain.py next to it: a short, self-contained verifier.", "--with-verifier"
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Export the audit chain, for an auditor without access to the store."""
    from ttplan.operations.chain.store_chain import VERIFIER, verifier_digest

    entries = open_store(store, key_file=key_file).export_chain(
        output, overwrite=overwrite, last_seq=until, with_verifier=with_verifier
    )
    verifier = output.with_name(VERIFIER) if with_verifier else None
    path = None if verifier is None else str(verifier)
    text = f"{count(entries, 'entry', 'entries')} written to {output}"
    if verifier is not None:
        text += f"\nits verifier: python -I {verifier} {output} PUBLIC_KEY_HEX"
        text += f"\nits SHA-256, to compare with the documentation: {verifier_digest()}"
    fields = {"path": str(output), "entries": entries, "verifier": path}
    if verifier is not None:
        fields["verifier_sha256"] = verifier_digest()
    show_value(fields, text, json)


@app.command(rich_help_panel=PROVE)
def anchor(
    store: StoreOption = DEFAULT_STORE,
    append: Annotated[
        Path | None, option("Append it to this file, which the operator must not be able to edit.")
    ] = None,
    command: Annotated[
        str | None, option("Run this with the anchor's line on standard input.")
    ] = None,
    heartbeat: Annotated[
        bool, option("Append a line even if nothing changed.", "--heartbeat")
    ] = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Print the end of the chain (SEQ:HASH) after checking it.

    Kept elsewhere, it proves later that nothing was cut off.
    """
    from ttplan.util.commands import parse_command

    if heartbeat and append is None:
        raise InputError("--heartbeat is for a file; add --append")
    words = None if command is None else parse_command(command, "--command")
    published = open_store(store, key_file=key_file).evidence.anchor(
        file=append, command=words, heartbeat=heartbeat
    )
    tip = published.tip
    fields = {"anchor": str(tip), "seq": tip.seq, "hash": tip.hash}
    show_value(fields | {"appended": published.appended}, tip, json)


@app.command(rich_help_panel=PROVE)
def prove(
    seq: Annotated[int, argument("The entry's seq.")],
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    checkpoint: Annotated[
        Path | None, option("Write a tlog-proof for this signed checkpoint, not JSON.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that an entry is in the chain, to someone who does not get the rest of it."""
    from ttplan.operations.chain.proofs import prove_entry

    hashes = chain_hashes(store, chain, key_hex)
    proof = prove_entry(seq, output, hashes, checkpoint=checkpoint)
    text = f"{proof['format']} of entry {seq} of {proof['leaf_count']} written to {output}"
    show_value({"path": str(output), **proof}, f"{text}; its root is {proof['root']}", json)


@app.command("verify-proof", rich_help_panel=PROVE)
def verify_proof(
    file: Annotated[Path, argument("A proof, as `ttplan prove` writes it.")],
    hash: Annotated[str | None, option("The entry's hash: 64 hex digits.")] = None,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    root: Annotated[
        str | None, option("The expected root, from a trusted source (JSON proofs).")
    ] = None,
    org: Annotated[
        str | None, option("The organisation whose chain it must be of (JSON proofs): a UUID.")
    ] = None,
    policy: PolicyOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a proof. Exits 0 if its root is trusted, 4 if it is only self-consistent, 1 if not."""
    from ttplan.operations.chain.proofs import check_proof_file

    if (hash is None) is (chain is None):
        raise InputError(
            "which entry? Give its hash (--hash), or the chain that contains it (--chain)"
        )
    known = None if chain is None else chain_hashes(str(chain), chain, key_hex)
    chain_id = None if known is None else str(known.org_id)
    proof = check_proof_file(
        file,
        entry_hash=hash,
        hashes=None if known is None else known.hashes,
        chain_id=chain_id if org is None else str(read_uuid(org, "--org")),
        root=root,
        policy=policy,
        log=log,
    )
    verdict = "PROVED" if proof.vouched else "CONSISTENT WITH ITSELF"
    show_value(proof._asdict(), f"{verdict}: {proof.message}", json)
    raise typer.Exit(0 if proof.vouched else 4)


@app.command(rich_help_panel=PROVE)
def disclose(
    plan_id: PlanArgument,
    checkpoint: SignedCheckpointOption,
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Disclose one plan's routes, and nothing else of the chain, to a holder of a checkpoint."""
    from ttplan.operations.chain.proofs import write_disclosure_file

    evidence = open_store(store, key_file=key_file).evidence
    disclosure = write_disclosure_file(evidence, plan_id, checkpoint, output)
    seq, routes = disclosure.entry.seq, len(disclosure.routes)
    text = f"{count(routes, 'route')} of entry {seq}, with their nonce and proof"
    show_value(
        {"path": str(output), "seq": seq, "routes": routes}, f"{text}, written to {output}", json
    )


@app.command("verify-disclosure", rich_help_panel=PROVE)
def verify_disclosure(
    file: Annotated[Path, argument("A disclosure, as `ttplan disclose` writes it.")],
    checkpoint: SignedCheckpointOption,
    key_hex: Annotated[
        str | None,
        option("The public key that signed the entry, from a trusted source.", "--key-hex"),
    ] = None,
    policy: PolicyOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Verify that a signed entry, in a signed checkpoint, committed to the disclosed routes."""
    from ttplan.operations.chain.proofs import check_disclosure_file

    if key_hex is None:
        raise InputError(
            "who must have signed the entry? Give the chain's public key, after a rotation the one "
            "that signed then (--key-hex)"
        )
    disclosure, checked = check_disclosure_file(file, checkpoint, key_hex, policy=policy, log=log)
    entry, routes = disclosure.entry, disclosure.routes
    text = f"DISCLOSED: {count(len(routes), 'route')} that entry {entry.seq} committed to"
    fields = {"seq": entry.seq, "hash": entry.hash, "routes": routes, "checked": checked}
    show_value(fields, f"{text}, in {checked}", json)


@checkpoint_app.command()
def create(
    seed_file: Annotated[Path, option("The customer's seed: 64 hex digits, mode 0600.")],
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Sign the current end of the chain with the customer's own key."""
    workspace = open_store(store, key_file=key_file)
    checkpoint = workspace.evidence.customer_checkpoint(seed_file, output)
    anchor, key_identity = str(checkpoint.anchor), checkpoint.key_identity
    text = f"customer key: {key_identity} (SHA-256); keep the key itself elsewhere"
    show_value(
        {"path": str(output), "anchor": anchor, "customer_key_identity": key_identity},
        f"checkpoint of {anchor} written to {output}\n{text}",
        json,
    )


@checkpoint_app.command("verify")
def verify_checkpoint(
    file: Annotated[Path, argument("A customer checkpoint, of either form.")],
    customer_key: Annotated[str, option("The customer's public key: 64 hex digits.")],
    chain: ChainOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a customer checkpoint and, with --chain, that the chain still has its entry."""
    from ttplan.audit.verify.file import check_customer_file

    checkpoint, report = check_customer_file(file, customer_key, chain)
    fields = {
        "form": checkpoint.form,
        "org_id": str(checkpoint.org_id),
        "anchor": str(checkpoint.anchor),
        "timestamp": checkpoint.timestamp,
        "verifying_key": checkpoint.verifying_key,
        "chain": None if report is None else report.to_dict(),
    }
    text = f"SIGNED BY THE CUSTOMER (form {checkpoint.form}): {checkpoint.anchor}"
    chain_text = "not checked: the chain itself (--chain)" if report is None else report
    show_value(fields, f"{text} at {checkpoint.timestamp}\n{chain_text}", json)
    raise typer.Exit(0 if report is None or report.ok else ProofError.exit_code)
