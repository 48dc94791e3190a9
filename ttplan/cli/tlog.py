"""The commands on the chain as a transparency log that public witnesses can watch (c2sp.org)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ttplan.cli.chain import ChainOption, KeyHexOption, collected
from ttplan.cli.commands import DEFAULT_STORE, JsonOption, KeyOption, StoreOption, app, open_store
from ttplan.cli.output import show_json
from ttplan.cli.proofs import OutputOption
from ttplan.model.errors import InputError
from ttplan.util.paths import is_postgres_url

if TYPE_CHECKING:
    from ttplan.audit.c2sp.note import VerifiedSignature
    from ttplan.audit.keys.signer import Signer

tlog_app = typer.Typer(
    help="The chain as a transparency log, with checkpoints that witnesses cosign.",
    rich_markup_mode=None,
)
app.add_typer(tlog_app, name="tlog")

OriginOption = Annotated[
    str,
    typer.Option(
        "--origin", help="The log's name in public: a pseudonym such as example.com/log1."
    ),
]
LogKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--log-key",
        help="The log's own key (PEM), made where there is none; otherwise beside the store.",
    ),
]
CheckpointArgument = Annotated[
    Path, typer.Argument(help="A signed checkpoint.", show_default=False)
]
WitnessOption = Annotated[
    list[str], typer.Option("--witness", help="The witness's verifier key; may be repeated.")
]


@tlog_app.command()
def vkey(
    origin: OriginOption,
    store: StoreOption = DEFAULT_STORE,
    log_key: LogKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Print the log's verifier key: what witnesses and auditors know it by."""
    from ttplan.operations.chain.transparency_log import log_vkey

    found = str(log_vkey(origin, _log_key(store, log_key)))
    if json:
        show_json({"vkey": found})
    else:
        print(found)


@tlog_app.command()
def checkpoint(
    origin: OriginOption,
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    log_key: LogKeyOption = None,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Sign the chain as it is now. Refused where it does not go on from what the log signed last, kept beside its key."""
    from ttplan.audit.c2sp.tlog import format_checkpoint
    from ttplan.util.files import atomic_write

    file = _log_key_file(store, log_key)
    state = file.with_name(file.name + ".last")
    found = open_store(store, key_file=key_file).evidence.sign_tree(
        origin, _log_key(store, log_key), state
    )
    with atomic_write(output) as opened:
        opened.write(format_checkpoint(found))
    if json:
        show_json({"path": str(output), "size": found.head.size, "root": found.head.root.hex()})
    else:
        print(
            f"checkpoint of {found.head.size} entries written to {output}; its root is {found.head.root.hex()}"
        )


@tlog_app.command()
def request(
    checkpoint: CheckpointArgument,
    output: OutputOption,
    old_size: Annotated[
        int, typer.Option("--old-size", help="How many entries the witness has seen.")
    ] = 0,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    json: JsonOption = False,
) -> None:
    """Write what a witness without a network is asked: an add-checkpoint request, to be carried there."""
    from ttplan.audit.c2sp.tlog import format_request, make_witness_request
    from ttplan.operations.chain.transparency_log import read_checkpoint_file
    from ttplan.util.files import atomic_write

    made = make_witness_request(
        collected(store, chain, key_hex).hashes, old_size, read_checkpoint_file(checkpoint)
    )
    with atomic_write(output) as file:
        file.write(format_request(made))
    if json:
        show_json(
            {"path": str(output), "old_size": made.old_size, "size": made.checkpoint.head.size}
        )
    else:
        print(
            f"request from {made.old_size} to {made.checkpoint.head.size} entries written to {output}"
        )


@tlog_app.command()
def submit(
    checkpoint: CheckpointArgument,
    url: Annotated[
        str, typer.Argument(help="The witness's submission prefix.", show_default=False)
    ],
    witness: WitnessOption,
    old_size: Annotated[
        int,
        typer.Option(
            "--old-size", help="How many entries the witness has seen, where that is known."
        ),
    ] = 0,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    json: JsonOption = False,
) -> None:
    """Have a witness cosign a checkpoint over HTTP, and add its cosignatures to the file."""
    from ttplan.operations.chain.transparency_log import submit_checkpoint

    hashes = collected(store, chain, key_hex).hashes
    _show_seals(
        submit_checkpoint(hashes, checkpoint, url, witness, old_size=old_size), checkpoint, json
    )


@tlog_app.command()
def add(
    checkpoint: CheckpointArgument,
    answer: Annotated[
        Path, typer.Argument(help="A witness's answer: signature lines.", show_default=False)
    ],
    witness: WitnessOption,
    json: JsonOption = False,
) -> None:
    """Add a witness's cosignatures, which were carried here, to a checkpoint's file."""
    from ttplan.operations.chain.transparency_log import MAX_CHECKPOINT, add_answer
    from ttplan.util.files import read_small_file

    data = read_small_file(answer, "a witness's answer", limit=MAX_CHECKPOINT)
    _show_seals(add_answer(checkpoint, data, witness, str(answer)), checkpoint, json)


@tlog_app.command()
def cosign(
    request: Annotated[
        Path,
        typer.Argument(help="A request, as `ttplan tlog request` writes it.", show_default=False),
    ],
    log: Annotated[str, typer.Option("--log", help="The log's verifier key.")],
    name: Annotated[
        str, typer.Option("--name", help="This witness's name, such as example.com/witness1.")
    ],
    witness_key: Annotated[
        Path,
        typer.Option(
            "--witness-key", help="This witness's own key (PEM); made where there is none."
        ),
    ],
    state: Annotated[
        Path,
        typer.Option(
            "--state", help="What this witness cosigned last of this log; made by the first."
        ),
    ],
    output: OutputOption,
    json: JsonOption = False,
) -> None:
    """Be a witness: cosign a request that goes on from what this witness cosigned last, and refuse a rewritten history."""
    from ttplan.audit.c2sp.note import COSIGNATURE, make_vkey
    from ttplan.operations.chain.transparency_log import cosign_request
    from ttplan.util.files import atomic_write

    signer = _key_in(witness_key)
    with atomic_write(output) as file:
        file.write(cosign_request(request, log, name, signer, state, datetime.now(UTC)))
    vkey = str(make_vkey(name, signer.public_key, COSIGNATURE))
    if json:
        show_json({"path": str(output), "vkey": vkey})
    else:
        print(f"cosignature written to {output}; this witness is known as\n{vkey}")


def _show_seals(seals: list[VerifiedSignature], checkpoint: Path, json: bool) -> None:
    if json:
        show_json([{"witness": seal.key.name, "timestamp": seal.timestamp} for seal in seals])
        return
    for seal in seals:
        when = (
            ""
            if seal.timestamp is None
            else f" at {datetime.fromtimestamp(seal.timestamp, UTC):%Y-%m-%d %H:%M:%S}Z"
        )
        print(f"cosigned by {seal.key.name}{when}; added to {checkpoint}")


def _log_key_file(store: str, log_key: Path | None) -> Path:
    if log_key is None and is_postgres_url(store):
        raise InputError(
            "there is no file beside a store on a server; say where the log's own key is (--log-key)"
        )
    return log_key or Path(f"{store}.log-key.pem")


def _log_key(store: str, log_key: Path | None) -> Signer:
    return _key_in(_log_key_file(store, log_key))


def _key_in(path: Path) -> Signer:
    from ttplan.audit.keys.key_files import passphrase_from_env
    from ttplan.operations.chain.transparency_log import log_key

    return log_key(path, passphrase=passphrase_from_env(os.environ))
