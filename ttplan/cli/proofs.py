"""The commands that prove a part of the chain to others: one entry, one plan's routes, or where it ended for a customer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.chain import ChainOption, KeyHexOption, LogOption, PolicyOption, collected
from ttplan.cli.commands import (
    DEFAULT_STORE,
    JsonOption,
    KeyOption,
    PlanArgument,
    StoreOption,
    app,
    open_store,
)
from ttplan.cli.output import show_json
from ttplan.model.errors import InputError, ProofError

checkpoint_app = typer.Typer(
    help="Customer checkpoints: where the chain ended, signed by the customer.",
    rich_markup_mode=None,
)
app.add_typer(checkpoint_app, name="checkpoint")

OutputOption = Annotated[
    Path, typer.Option("--output", help="Where to write it; there must be no such file yet.")
]
CheckpointOption = Annotated[
    Path, typer.Option("--checkpoint", help="A signed checkpoint, from `ttplan tlog checkpoint`.")
]


@app.command()
def prove(
    seq: Annotated[int, typer.Argument(help="The entry, by its seq.", show_default=False)],
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", help="Write a tlog-proof in this signed checkpoint's tree, not JSON."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Prove that an entry is in the chain, to somebody who does not get the rest of it."""
    from ttplan.operations.chain.proofs import prove_entry

    made = prove_entry(seq, output, collected(store, chain, key_hex), checkpoint=checkpoint)
    if json:
        show_json({"path": str(output), **made})
    else:
        print(
            f"{made['format']} of entry {seq} of {made['leaf_count']} written to {output}; its root is {made['root']}"
        )


@app.command("verify-proof")
def verify_proof(
    file: Annotated[
        Path, typer.Argument(help="A proof, as `ttplan prove` writes it.", show_default=False)
    ],
    hash: Annotated[
        str | None, typer.Option("--hash", help="The entry's hash: 64 hex digits.")
    ] = None,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    root: Annotated[
        str | None,
        typer.Option(help="The root that it has to be of, from elsewhere (JSON proofs)."),
    ] = None,
    policy: PolicyOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a proof. Exits 0 where its root is vouched for, 4 where it is only consistent with itself, 1 where it fails."""
    from ttplan.operations.chain.proofs import check_proof_file

    if (hash is None) is (chain is None):
        raise InputError(
            "of which entry? Give its hash (--hash), or the chain that it is in (--chain)"
        )
    hashes = None if chain is None else collected(str(chain), chain, key_hex).hashes
    found = check_proof_file(
        file, entry_hash=hash, hashes=hashes, root=root, policy=policy, log=log
    )
    if json:
        show_json(found._asdict())
    else:
        print(f"{'PROVED' if found.vouched else 'CONSISTENT WITH ITSELF'}: {found.message}")
    raise typer.Exit(0 if found.vouched else 4)


@app.command()
def disclose(
    plan_id: PlanArgument,
    checkpoint: CheckpointOption,
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Write what shows one plan's routes to who has a signed checkpoint, and nothing else of the chain."""
    from ttplan.operations.chain.proofs import write_disclosure_file

    found = write_disclosure_file(
        open_store(store, key_file=key_file).evidence, plan_id, checkpoint, output
    )
    if json:
        show_json({"path": str(output), "seq": found.entry.seq, "routes": len(found.routes)})
    else:
        print(
            f"{len(found.routes)} routes of entry {found.entry.seq}, with their nonce and proof, written to {output}"
        )


@app.command("verify-disclosure")
def verify_disclosure(
    file: Annotated[
        Path,
        typer.Argument(help="A disclosure, as `ttplan disclose` writes it.", show_default=False),
    ],
    checkpoint: CheckpointOption,
    policy: PolicyOption = None,
    log: LogOption = None,
    json: JsonOption = False,
) -> None:
    """Verify that the routes shown are those that a signed entry committed to, and that it is in a signed checkpoint's tree."""
    from ttplan.operations.chain.proofs import check_disclosure_file

    found, words = check_disclosure_file(file, checkpoint, policy=policy, log=log)
    if json:
        show_json(
            {
                "seq": found.entry.seq,
                "hash": found.entry.hash,
                "routes": found.routes,
                "checked": words,
            }
        )
    else:
        print(
            f"DISCLOSED: {len(found.routes)} routes that entry {found.entry.seq} committed to, in {words}"
        )


@checkpoint_app.command()
def create(
    seed_file: Annotated[
        Path, typer.Option("--seed-file", help="The customer's seed: 64 hex digits, mode 0600.")
    ],
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Sign where the chain ends now with the customer's own key."""
    made = open_store(store, key_file=key_file).evidence.customer_checkpoint(seed_file, output)
    if json:
        show_json(
            {
                "path": str(output),
                "anchor": str(made.anchor),
                "customer_key_identity": made.key_identity,
            }
        )
    else:
        print(f"checkpoint of {made.anchor} written to {output}")
        print(
            f"customer key: {made.key_identity} (SHA-256); the key itself is not in it, keep it elsewhere"
        )


@checkpoint_app.command("verify")
def verify_checkpoint(
    file: Annotated[
        Path, typer.Argument(help="A customer checkpoint, of either form.", show_default=False)
    ],
    customer_key: Annotated[
        str, typer.Option("--customer-key", help="The customer's public key: 64 hex digits.")
    ],
    chain: ChainOption = None,
    json: JsonOption = False,
) -> None:
    """Verify a customer checkpoint and, with --chain, that the chain still has the entry that it was signed at."""
    from ttplan.audit.verify.file import check_customer_file

    found, report = check_customer_file(file, customer_key, chain)
    if json:
        fields = {
            "form": found.form,
            "org_id": str(found.org_id),
            "anchor": str(found.anchor),
            "timestamp": found.timestamp,
        }
        show_json(
            fields
            | {
                "verifying_key": found.verifying_key,
                "chain": None if report is None else report.model_dump(mode="json"),
            }
        )
    else:
        print(f"SIGNED BY THE CUSTOMER (form {found.form}): {found.anchor} at {found.timestamp}")
        print("not checked: the chain itself (--chain)" if report is None else report)
    raise typer.Exit(0 if report is None or report.ok else ProofError.exit_code)
