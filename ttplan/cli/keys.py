"""The commands on keys: make one, show its public half, hand the chain over to another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ttplan.cli.commands import DEFAULT_STORE, JsonOption, KeyOption, StoreOption, app, open_store
from ttplan.cli.output import show_json
from ttplan.cli.routes import ApiKeyOption, SystemOption, UserOption, read_actor

key_app = typer.Typer(
    help="The key that signs the chain: show its public half, or hand over to another.",
    rich_markup_mode=None,
)
app.add_typer(key_app, name="key")


@app.command()
def keygen(
    output: Annotated[
        Path,
        typer.Argument(
            help="Where to write the new signing key (PEM, mode 0600).", show_default=False
        ),
    ],
    json: JsonOption = False,
) -> None:
    """Make a signing key, and print its public half, which auditors verify with. With TTPLAN_KEY_PASSPHRASE it is encrypted."""
    from ttplan.audit.keys.key_files import create_key, passphrase_from_env, save_key

    key = create_key()
    save_key(key, output, passphrase=passphrase_from_env(os.environ))
    if json:
        show_json({"path": str(output), "public_key": key.public_key.hex})
    else:
        print(f"signing key written to {output}; keep it secret")
        print(f"public key: {key.public_key.hex}")


@key_app.command()
def show(
    store: StoreOption = DEFAULT_STORE, key_file: KeyOption = None, json: JsonOption = False
) -> None:
    """Print the public half of the key that signs: of --key-file, of the environment, or of the store's own."""
    from ttplan.audit.keys.key_files import load_key, passphrase_from_env

    if key_file is not None:
        public = load_key(key_file, passphrase=passphrase_from_env(os.environ)).public_key.hex
    else:
        public = open_store(store).signing_key
    if json:
        show_json({"public_key": public})
    else:
        print(public)


@key_app.command()
def rotate(
    store: StoreOption = DEFAULT_STORE,
    new_key_file: Annotated[
        Path | None,
        typer.Option(
            "--new-key-file", help="The key to hand over to (PEM); otherwise one is made."
        ),
    ] = None,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Hand the chain over to another key: one entry, signed by the old key, with the new one's signature in it."""
    from ttplan.audit.keys.key_files import load_key, passphrase_from_env

    workspace = open_store(store, key_file=key_file)
    new = (
        None
        if new_key_file is None
        else load_key(new_key_file, passphrase=passphrase_from_env(os.environ))
    )
    entry = workspace.evidence.rotate_key(new, actor=read_actor(user, api_key, system))
    public = workspace.signing_key if new is None else new.public_key.hex
    if json:
        show_json(
            {
                "public_key": public,
                "entry": None if entry is None else entry.model_dump(mode="json"),
            }
        )
        return
    if entry is None:
        print("a rotation had been broken off after its entry was written; it is finished now")
    else:
        print(f"entry {entry.seq} hands the chain over; its anchor is {entry.seq}:{entry.hash}")
        print(
            "keep that anchor: with --distrust-after it shuts out whoever may have stolen the old key"
        )
    print(f"public key from now on: {public}")
    if new is not None:
        print(f"sign with it: --key-file {new_key_file}")
