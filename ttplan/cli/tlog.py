"""Commands on the chain as a transparency log that public witnesses can watch (c2sp.org)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ttplan.cli.options import (
    DEFAULT_STORE,
    ChainOption,
    JsonOption,
    KeyFileOption,
    KeyHexOption,
    OutputOption,
    StoreOption,
    argument,
    command_group,
    open_store,
    option,
)
from ttplan.cli.output import count, show_json, show_text, show_value
from ttplan.cli.verify import chain_hashes
from ttplan.model.errors import InputError
from ttplan.util.files import atomic_write
from ttplan.util.paths import is_postgres_url

if TYPE_CHECKING:
    from ttplan.audit.c2sp.note import VerifiedSignature
    from ttplan.audit.keys.signer import Signer

tlog_app = command_group(
    "tlog", "The chain as a transparency log, with checkpoints that witnesses cosign."
)

OriginOption = Annotated[
    str, option("The log's public name: a pseudonym such as example.com/log1.", "--origin")
]
LogKeyOption = Annotated[
    Path | None,
    option(
        "The log's own key (PEM), created if it does not exist; default: next to the store.",
        "--log-key",
    ),
]
CheckpointArgument = Annotated[Path, argument("A signed checkpoint.")]
WitnessOption = Annotated[
    list[str], option("The witness's verifier key; may be repeated.", "--witness")
]
OldSizeOption = Annotated[
    int, option("The number of entries that the witness has seen.", "--old-size")
]


@tlog_app.command()
def vkey(
    origin: OriginOption,
    store: StoreOption = DEFAULT_STORE,
    log_key: LogKeyOption = None,
    json: JsonOption = False,
) -> None:
    """Print the log's verifier key, by which witnesses and auditors know it."""
    from ttplan.operations.chain.transparency_log import log_verifier_key

    verifier_key = str(log_verifier_key(origin, _load_log_key(store, log_key)))
    show_value({"vkey": verifier_key}, verifier_key, json)


@tlog_app.command()
def checkpoint(
    origin: OriginOption,
    output: OutputOption,
    store: StoreOption = DEFAULT_STORE,
    log_key: LogKeyOption = None,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Sign the current chain.

    Refused if the chain does not extend the last signed checkpoint, which is kept next to the key.
    """
    from ttplan.audit.c2sp.tlog import format_checkpoint

    key_path = _log_key_path(store, log_key)
    state = key_path.with_name(key_path.name + ".last")
    signed = open_store(store, key_file=key_file).evidence.sign_tree(
        origin, _load_log_key(store, log_key), state
    )
    with atomic_write(output) as file:
        file.write(format_checkpoint(signed))
    size, root = signed.head.size, signed.head.root.hex()
    text = f"checkpoint of {count(size, 'entry', 'entries')} written to {output}"
    fields = {"path": str(output), "size": size, "root": root}
    show_value(fields, f"{text}; its root is {root}", json)


@tlog_app.command()
def request(
    checkpoint: CheckpointArgument,
    output: OutputOption,
    old_size: OldSizeOption = 0,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    json: JsonOption = False,
) -> None:
    """Write an add-checkpoint request for a witness without a network."""
    from ttplan.audit.c2sp.tlog import format_request, make_witness_request
    from ttplan.operations.chain.transparency_log import read_checkpoint_file

    hashes = chain_hashes(store, chain, key_hex).hashes
    witness_request = make_witness_request(hashes, old_size, read_checkpoint_file(checkpoint))
    with atomic_write(output) as file:
        file.write(format_request(witness_request))
    old_size, size = witness_request.old_size, witness_request.checkpoint.head.size
    text = f"request from {old_size} to {size} entries written to {output}"
    show_value({"path": str(output), "old_size": old_size, "size": size}, text, json)


@tlog_app.command()
def submit(
    checkpoint: CheckpointArgument,
    url: Annotated[str, argument("The witness's submission prefix.")],
    witness: WitnessOption,
    old_size: OldSizeOption = 0,
    store: StoreOption = DEFAULT_STORE,
    chain: ChainOption = None,
    key_hex: KeyHexOption = None,
    json: JsonOption = False,
) -> None:
    """Let a witness cosign a checkpoint over HTTP, and add its cosignatures to the file."""
    from ttplan.operations.chain.transparency_log import submit_checkpoint

    hashes = chain_hashes(store, chain, key_hex).hashes
    seals = submit_checkpoint(hashes, checkpoint, url, witness, old_size=old_size)
    _show_seals(seals, checkpoint, json)


@tlog_app.command()
def add(
    checkpoint: CheckpointArgument,
    answer: Annotated[Path, argument("A witness's answer: signature lines.")],
    witness: WitnessOption,
    json: JsonOption = False,
) -> None:
    """Add a witness's cosignatures from a file to a checkpoint's file."""
    from ttplan.operations.chain.transparency_log import MAX_CHECKPOINT, add_witness_signatures
    from ttplan.util.files import read_small_file

    data = read_small_file(answer, "a witness's answer", limit=MAX_CHECKPOINT)
    _show_seals(add_witness_signatures(checkpoint, data, witness, str(answer)), checkpoint, json)


@tlog_app.command()
def cosign(
    request: Annotated[Path, argument("A request, as `ttplan tlog request` writes it.")],
    log: Annotated[str, option("The log's verifier key.")],
    name: Annotated[str, option("This witness's name, such as example.com/witness1.")],
    witness_key: Annotated[
        Path, option("This witness's own key (PEM), created if it does not exist.")
    ],
    state: Annotated[Path, option("What this witness cosigned last; created if missing.")],
    output: OutputOption,
    json: JsonOption = False,
) -> None:
    """Act as a witness: cosign a request that extends the last one, refuse a rewritten history."""
    from ttplan.audit.c2sp.note import COSIGNATURE, make_vkey
    from ttplan.operations.chain.transparency_log import cosign_request

    signer = _load_or_create_key(witness_key)
    with atomic_write(output) as file:
        file.write(cosign_request(request, log, name, signer, state, datetime.now(UTC)))
    vkey = str(make_vkey(name, signer.public_key, COSIGNATURE))
    text = f"cosignature written to {output}; this witness's verifier key is\n{vkey}"
    show_value({"path": str(output), "vkey": vkey}, text, json)


def _show_seals(seals: list[VerifiedSignature], checkpoint: Path, json: bool) -> None:
    if json:
        show_json([{"witness": seal.key.name, "timestamp": seal.timestamp} for seal in seals])
        return
    for seal in seals:
        when = ""
        if seal.timestamp is not None:
            when = f" at {datetime.fromtimestamp(seal.timestamp, UTC):%Y-%m-%d %H:%M:%S}Z"
        show_text(f"cosigned by {seal.key.name}{when}; added to {checkpoint}")


def _log_key_path(store: str, log_key: Path | None) -> Path:
    if log_key is None and is_postgres_url(store):
        raise InputError("a store on a server has no log key next to it; give one with --log-key")
    return log_key or Path(f"{store}.log-key.pem")


def _load_log_key(store: str, log_key: Path | None) -> Signer:
    return _load_or_create_key(_log_key_path(store, log_key))


def _load_or_create_key(path: Path) -> Signer:
    from ttplan.audit.keys.key_files import passphrase_from_env
    from ttplan.operations.chain.transparency_log import load_or_create_log_key

    return load_or_create_log_key(path, passphrase=passphrase_from_env(os.environ))
