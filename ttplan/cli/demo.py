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
from ttplan.cli.output import show_json, show_text
from ttplan.model.audit import System
from ttplan.model.errors import ChainError, InputError
from ttplan.util.paths import is_postgres_url
from ttplan.workspace import Workspace
from ttplan.workspace.open import open_workspace

DEMO_KEY = Path("ttplan-demo.key.pem")
"""The signing key of a demo in a database, in the current directory."""
_INSTALLED = Path(__file__).parent.parent / "sample"
_IN_CHECKOUT = Path(__file__).parent.parent.parent / "data"


def sample_file(name: str) -> Path:
    """Return a file of the sample data, from the installed package or the checkout."""
    for folder in (_INSTALLED, _IN_CHECKOUT):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the sample data ({name}) is missing; install ttplan again")


def run_demo(store: str | None, json: bool) -> None:
    """Import, plan, apply, verify, and detect tampering. Raises ChainError if that fails."""
    if store is not None and not is_postgres_url(store) and Path(store).exists():
        raise InputError(f"{store} exists already; the demo needs a new store")
    with tempfile.TemporaryDirectory(prefix="ttplan-demo-") as folder:
        with redirect_stdout(StringIO()) if json else nullcontext():
            workspace = _open_empty(store or str(Path(folder) / "demo.duckdb"))
            results = _run_steps(workspace, Path(folder))
        if json:
            show_json(results)


def _open_empty(store: str) -> Workspace:
    """Open the demo's workspace, in a store that is empty."""
    if not is_postgres_url(store):
        return open_workspace(store)
    key = key_from_env(os.environ) or signer_from_env(os.environ)
    if key is None:  # a store on a server has no key file next to it
        ensure_key(DEMO_KEY, passphrase=passphrase_from_env(os.environ))
        show_text(f"The signing key is in {DEMO_KEY}")
    workspace = open_workspace(store, key=key, key_file=None if key else DEMO_KEY)
    with workspace.store.read() as snapshot:
        is_empty = not snapshot.request_count()
    if not is_empty or len(workspace.plans()):
        raise InputError(
            "the store is not empty; the demo needs an empty one, such as a new organisation: "
            "?org=UUID"
        )
    return workspace


def _run_steps(workspace: Workspace, folder: Path) -> dict[str, object]:
    """Run and print the five steps of the demo; return the result of each as JSON."""
    _print_step(1, "Import an hour of LLM requests (Azure's public trace, models and costs added)")
    report = workspace.import_logs(sample_file("requests.parquet"))
    show_text(report)
    _print_step(2, "What if short chats and code completions went to cheaper models?")
    plan = workspace.plan(sample_file("routes.yaml"), name="cheaper models for short chat and code")
    show_text(plan)
    _print_step(3, "Apply it: status, routes and a signed audit entry, in one transaction")
    entry = workspace.apply(plan, actor=System())
    show_text(f"entry {entry.seq}, {entry.event}, {len(workspace.routes())} routes live")
    _print_step(4, "Prove it: anyone with the public key and an exported chain can verify")
    chain = folder / "chain.jsonl"
    workspace.export_chain(chain)
    key, anchor = workspace.public_key, f"{entry.seq}:{entry.hash}"
    verified = verify_file(chain, public_key=key, anchor=anchor)
    show_text(verified)
    _print_step(5, "A forger who claims ten times the savings is detected")
    saved = entry.payload["change_vs_actual_usd"]
    forged_chain = folder / "forged.jsonl"
    forged_chain.write_bytes(
        chain.read_bytes().replace(f":{saved},".encode(), f":{round(saved * 10, 6)},".encode())
    )
    forgery = verify_file(forged_chain, public_key=key)
    show_text(forgery)
    if not verified.ok or forgery.verdict != "broken":
        raise ChainError(
            0,
            "the demo's chain did not verify, or its forgery was not detected; please report this",
        )
    return {
        "import": report.model_dump(mode="json"),
        "plan": plan.run.model_dump(mode="json", exclude={"nonce"}),
        "entry": entry.to_dict(),
        "verified": verified.to_dict(),
        "forgery": forgery.to_dict(),
    }


def _print_step(number: int, text: str) -> None:
    show_text(f"\n── {number}. {text}\n")
