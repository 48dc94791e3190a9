"""Commands on signing keys: generate one, show its public half, and rotate the chain to another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from ttplan.cli.options import (
    DEFAULT_STORE,
    ApiKeyOption,
    JsonOption,
    KeyFileOption,
    StoreOption,
    SystemOption,
    UserOption,
    argument,
    command_group,
    load_signing_key,
    open_store,
    option,
    read_actor,
)
from ttplan.cli.output import show_json, show_text, show_value
from ttplan.operations.keyring import former_key_files

key_app = command_group("key", "Generate, show and rotate the key that signs the audit chain.")


@key_app.command()
def generate(
    output: Annotated[Path, argument("The file to write the signing key to (PEM, mode 0600).")],
    json: JsonOption = False,
) -> None:
    """Generate a signing key, and print its public half, with which auditors verify.

    The file is encrypted if TTPLAN_KEY_PASSPHRASE is set.
    """
    from ttplan.audit.keys.key_files import create_key, passphrase_from_env, save_key

    key = create_key()
    save_key(key, output, passphrase=passphrase_from_env(os.environ))
    public_key = key.public_key.hex
    text = f"signing key written to {output}; keep it secret\npublic key: {public_key}"
    show_value({"path": str(output), "public_key": public_key}, text, json)


@key_app.command()
def show(
    store: StoreOption = DEFAULT_STORE, key_file: KeyFileOption = None, json: JsonOption = False
) -> None:
    """Print the public half of the current key: of --key-file, the environment, or the store."""
    if key_file is not None:
        public_key = load_signing_key(key_file).public_key.hex
    else:
        public_key = open_store(store).current_public_key
    show_value({"public_key": public_key}, public_key, json)


@key_app.command()
def rotate(
    store: StoreOption = DEFAULT_STORE,
    new_key_file: Annotated[
        Path | None, option("The new key (PEM); default: generate one.")
    ] = None,
    user: UserOption = None,
    api_key: ApiKeyOption = None,
    system: SystemOption = False,
    key_file: KeyFileOption = None,
    json: JsonOption = False,
) -> None:
    """Rotate the chain to a new key: one entry, signed by both keys."""
    workspace = open_store(store, key_file=key_file)
    new_key = None if new_key_file is None else load_signing_key(new_key_file)
    entry = workspace.evidence.rotate_key(new_key, actor=read_actor(user, api_key, system))
    public_key = workspace.current_public_key if new_key is None else new_key.public_key.hex
    if json:
        dump = None if entry is None else entry.to_dict()
        show_json({"public_key": public_key, "entry": dump})
        return
    if entry is None:
        show_text(
            "an earlier rotation was interrupted after its entry was written; it is now complete"
        )
    else:
        show_text(f"entry {entry.seq} rotates the key; its anchor is {entry.seq}:{entry.hash}")
        show_text("keep that anchor: verify with it as --distrust-after if the old key was stolen")
    show_text(f"public key from now on: {public_key}")
    for former in former_key_files(key_file or Path(f"{store}.key.pem")):
        show_text(f"{former} can still sign as before the rotation: move it offline, or delete it")
    if new_key is not None:
        show_text(f"sign with it: --key-file {new_key_file}")
