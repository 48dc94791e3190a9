"""`ttplan demo`: the whole story on the sample data."""

from __future__ import annotations

import os
import tempfile
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path

from ttplan.audit.keys.key_files import ensure_key, key_from_env, passphrase_from_env
from ttplan.audit.keys.signer import signer_from_env
from ttplan.audit.verify.file import verify_file
from ttplan.cli.output import show_json
from ttplan.model.audit import System
from ttplan.model.errors import ChainError, InputError
from ttplan.util.paths import is_postgres_url
from ttplan.workspace import Workspace
from ttplan.workspace.open import open_workspace

DEMO_KEY = Path("ttplan-demo.key.pem")
"""The key of a demo in a database, in the folder where it is told."""
SAMPLE = Path(__file__).parent.parent / "sample"
_IN_CHECKOUT = Path(__file__).parent.parent.parent / "data"


def sample_file(name: str) -> Path:
    """A file of the sample data: in the installed package, or in the checkout."""
    for folder in (SAMPLE, _IN_CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the sample data ({name}) is not there; install ttplan again")


def tell(store: str | None, json: bool) -> None:
    """Import, plan, apply, verify, and find a tampering. Raises ChainError where the tampering is not found."""
    if store is not None and not is_postgres_url(store) and Path(store).exists():
        raise InputError(f"{store} exists already; the demo wants a new store, or none at all")
    with tempfile.TemporaryDirectory(prefix="ttplan-demo-") as folder:
        with redirect_stdout(StringIO()) if json else nullcontext():
            facts = _story(_opened(store or str(Path(folder) / "demo.duckdb")), Path(folder))
        if json:
            show_json(facts)


def _opened(store: str) -> Workspace:
    """The demo's workspace, in a store that holds nothing yet."""
    if not is_postgres_url(store):
        return open_workspace(store)
    key = key_from_env(os.environ) or signer_from_env(os.environ)
    if key is None:  # there is no file beside a store on a server
        ensure_key(DEMO_KEY, passphrase=passphrase_from_env(os.environ))
        print(f"The key that signs is in {DEMO_KEY}")
    workspace = open_workspace(store, key=key, key_file=None if key else DEMO_KEY)
    with workspace.store.read() as snapshot:
        if snapshot.request_count() or workspace.plan_runs():
            raise InputError(
                "the store is not empty; the demo wants one that holds nothing, such as an organisation of its own: ?org=UUID"
            )
    return workspace


def _story(workspace: Workspace, folder: Path) -> dict[str, object]:
    _step(
        "1",
        "Import an hour of LLM requests (Azure's public trace, with models and costs assigned by a rule)",
    )
    report = workspace.import_logs(sample_file("requests.parquet"))
    print(report)
    _step("2", "What if short chats and code completions went to cheaper models?")
    plan = workspace.plan(sample_file("routes.yaml"), name="cheaper models for short chat and code")
    print(plan)
    _step("3", "Make it so: status, routes and a signed audit entry, in one transaction")
    entry = workspace.apply(plan, actor=System())
    print(f"entry {entry.seq}, {entry.event}, {len(workspace.routes())} routes live")
    _step("4", "Prove it: anyone with the public key and an exported chain can check")
    exported = folder / "chain.jsonl"
    workspace.export_chain(exported)
    key, anchor = workspace.public_key, f"{entry.seq}:{entry.hash}"
    verified = verify_file(exported, public_key=key, anchor=anchor)
    print(verified)
    _step("5", "And a forger who claims ten times the savings is found")
    saved = entry.payload["projected_savings_usd"]
    forged = folder / "forged.jsonl"
    forged.write_bytes(
        exported.read_bytes().replace(f":{saved},".encode(), f":{round(saved * 10, 6)},".encode())
    )
    caught = verify_file(forged, public_key=key)
    print(caught)
    if not verified.ok or caught.verdict != "broken":
        raise ChainError(
            0, "the demo's chain did not verify, or its forgery was not found; please report this"
        )
    return {
        "import": report.model_dump(mode="json"),
        "plan": plan.run.model_dump(mode="json", exclude={"nonce"}),
        "entry": entry.model_dump(mode="json"),
        "verified": verified.model_dump(mode="json"),
        "forgery": caught.model_dump(mode="json"),
    }


def _step(number: str, text: str) -> None:
    print(f"\n── {number}. {text}\n")
