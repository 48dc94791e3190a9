"""Commands that check the audit chain: list its entries, verify it, and compare two copies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttplan.cli.options import (
    DEFAULT_STORE,
    PROVE,
    AnchorsOption,
    JsonOption,
    KeyHexOption,
    LogOption,
    OrgOption,
    PolicyOption,
    StoreOption,
    app,
    argument,
    open_store,
    option,
    read_anchors_option,
    read_time,
)
from ttplan.cli.output import show_frame, show_value
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, ProofError
from ttplan.util.files import first_bytes
from ttplan.util.paths import is_postgres_url

if TYPE_CHECKING:
    from ttplan.audit.verify.require import ChainHashes


@app.command(rich_help_panel=PROVE)
def entries(
    store: StoreOption = DEFAULT_STORE,
    event: Annotated[
        str | None, option("Only entries of this event, such as plan.applied.")
    ] = None,
    plan: Annotated[str | None, option("Only entries of this plan: its id.")] = None,
    since: Annotated[str | None, option("Only entries from this time on: 2026-05-01.")] = None,
    until: Annotated[str | None, option("Only entries before this time.")] = None,
    after: Annotated[int, option("Only entries after this seq.")] = -1,
    limit: Annotated[int, option("The maximum number of entries to list.")] = 1_000,
    json: JsonOption = False,
) -> None:
    """List the entries of the audit chain, without verifying them."""
    frame = open_store(store).entries(
        event=event,
        plan=plan,
        since=read_time(since, "--since"),
        until=read_time(until, "--until"),
        after=after,
        limit=limit,
    )
    show_frame(
        frame,
        json,
        title="audit chain",
        columns=["seq", "time", "event", "actor", "plan_id", "hash"],
        empty="no such entries",
    )


@app.command(rich_help_panel=PROVE)
def verify(
    source: Annotated[str, argument("A store, or an exported chain (JSON lines).")],
    key_hex: KeyHexOption = None,
    since: Annotated[
        str | None,
        option("A trusted entry (SEQ:HASH): only check what follows; --key-hex is its key."),
    ] = None,
    anchor: Annotated[
        str | None, option("The entry that the chain must end with: SEQ:HASH, or `empty` for none.")
    ] = None,
    through: Annotated[
        list[str] | None,
        option("An entry that the chain must contain (SEQ:HASH); may be repeated."),
    ] = None,
    anchors: AnchorsOption = None,
    org: OrgOption = None,
    distrust_after: Annotated[
        str | None, option("Do not trust what this entry's key signed after it: SEQ:HASH.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        option("A signed checkpoint that the chain must contain; needs --policy or --log."),
    ] = None,
    policy: PolicyOption = None,
    log: LogOption = None,
    signatures: Annotated[
        str, option("all: check each. tip: check the last, which covers all content.")
    ] = "all",
    evidence: Annotated[
        Path | None, option("Write the evidence there if two entries claim the same place.")
    ] = None,
    resume: Annotated[
        Path | None, option("Keep the progress in this file, and continue from it.")
    ] = None,
    html: Annotated[
        Path | None, option("Also write the report as HTML; the file must not exist yet.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Verify an audit chain.

    Exits 0 verified, 1 broken, 2 if it has no entries, 4 only consistent with its own key.
    """
    from ttplan.audit.verify.file import verify_file

    if signatures not in ("all", "tip"):
        raise InputError(f"--signatures is {signatures!r}; expected all or tip")
    if html is not None and html.exists():
        raise InputError(f"{html} exists already; choose another path for the report")
    if checkpoint is None and (policy is not None or log is not None):
        raise InputError("--policy and --log are for a checkpoint; add --checkpoint")
    if checkpoint is not None and since is not None:
        raise InputError(
            "a checkpoint covers the whole chain, but --since checks only a part of it; "
            "leave out one of them"
        )
    required = [TipAnchor.parse(text) for text in through or []]
    required += read_anchors_option(anchors)
    options: dict[str, Any] = {
        "public_key": key_hex,
        "since": since,
        "anchor": anchor,
        "passes_through": required,
        "org_id": org,
        "distrust_after": None if distrust_after is None else TipAnchor.parse(distrust_after),
        "signatures": signatures,
        "on_fork": None if evidence is None else lambda data: _write_new(evidence, data),
        "resume": resume,
    }
    report = (
        verify_file(source, **options)
        if is_export(source)
        else open_store(source).verify(**options)
    )
    if checkpoint is not None and report.first_bad is None:
        check = _check_checkpoint(source, key_hex, checkpoint, policy, log)
        report = replace(report, checks=(*report.checks, check))
    if html is not None:
        _write_new(html, report.page(_display_name(source)).encode())
    show_value(report.to_dict(), report, json)
    raise typer.Exit(report.exit_code)


def _display_name(source: str) -> str:
    """Return the last part of a source, without what a URL may reveal about a user."""
    return source.rstrip("/").rsplit("/", 1)[-1].partition("?")[0] or source


def _check_checkpoint(
    source: str, key_hex: str | None, path: Path, policy: Path | None, log: str | None
) -> str:
    """Check that a signed checkpoint covers the chain's beginning; return that as text."""
    from ttplan.audit.c2sp.tlog import check_tree_covers
    from ttplan.operations.chain.transparency_log import (
        check_checkpoint_signers,
        read_checkpoint_file,
    )

    checkpoint = read_checkpoint_file(path)
    description = check_checkpoint_signers(checkpoint, policy=policy, log=log)
    chain = Path(source) if is_export(source) else None
    check_tree_covers(checkpoint, chain_hashes(source, chain, key_hex).hashes)
    return f"that the chain begins with {description}"


def chain_hashes(store: str, chain: Path | None, key_hex: str | None) -> ChainHashes:
    """Return the hashes of an exported chain if one is given, else those of a store's chain."""
    from ttplan.audit.verify.file import collect_file_hashes

    if chain is not None:
        return collect_file_hashes(chain, key_hex)
    return open_store(store).evidence.hashes(key_hex)


def _write_new(path: Path, data: bytes) -> None:
    from ttplan.util.files import atomic_write

    with atomic_write(path) as file:
        file.write(data)


def is_export(source: str) -> bool:
    """Return whether a file is an exported chain, by its suffix or its first character."""
    if is_postgres_url(source):
        return False
    if Path(source).suffix in (".jsonl", ".ndjson", ".json"):
        return True
    # A DuckDB file has other first bytes.
    return first_bytes(source, 64).lstrip()[:1] == b"{"


@app.command(rich_help_panel=PROVE)
def compare(
    first: Annotated[Path, argument("An exported chain or, with --check, evidence of a fork.")],
    second: Annotated[Path | None, argument("Another export of the same chain.")] = None,
    key_hex: KeyHexOption = None,
    evidence: Annotated[Path | None, option("Write the proof of two histories there.")] = None,
    check: Annotated[
        bool, option("Check evidence of a fork against the key, instead of comparing.", "--check")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Find two signed entries for the same place, which prove two histories.

    Exits 1 if there are such entries.
    """
    from ttplan.audit.keys.key_files import VerifyingKey
    from ttplan.audit.verify.file import check_evidence_file, compare_files

    if key_hex is None or (second is None) is not check:
        raise InputError(
            "compare needs two chains, or one file of evidence with --check; and the public key "
            "(--key-hex)"
        )
    key = VerifyingKey.from_hex(key_hex)
    fork = (
        compare_files(first, second, key) if second is not None else check_evidence_file(first, key)
    )
    if fork is not None and evidence is not None:
        _write_new(evidence, fork.evidence)
    show_value(
        fork and {"seq": fork.seq, "hashes": fork.hashes, "message": str(fork)},
        fork or "no two signed entries for the same place, as far as both chains go",
        json,
    )
    raise typer.Exit(0 if fork is None else ProofError.exit_code)
