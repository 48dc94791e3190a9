"""The commands on the audit chain as a whole: verify it, export it, anchor it, and hold two copies against each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ttplan.cli.commands import DEFAULT_STORE, JsonOption, KeyOption, StoreOption, app, open_store
from ttplan.cli.output import show_json
from ttplan.model.audit import TipAnchor
from ttplan.model.errors import InputError, ProofError
from ttplan.util.paths import is_postgres_url

if TYPE_CHECKING:
    from ttplan.audit.verify.require import ChainHashes

KeyHexOption = Annotated[
    str | None,
    typer.Option("--key-hex", help="The chain's first public key, from elsewhere: 64 digits."),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option("--policy", help="Which logs and witnesses to trust: a tlog-policy file."),
]
LogOption = Annotated[
    str | None,
    typer.Option("--log", help="The log's verifier key, as `ttplan tlog vkey` prints it."),
]
ChainOption = Annotated[
    Path | None, typer.Option("--chain", help="An exported chain, in the place of a store.")
]


@app.command()
def verify(
    source: Annotated[
        str, typer.Argument(help="A store, or a chain exported as JSON lines.", show_default=False)
    ],
    key_hex: KeyHexOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="A trusted entry, <seq>:<hash>: check only what follows; --key-hex is the key that signs there.",
        ),
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="Where the chain has to end: <seq>:<hash>.")
    ] = None,
    through: Annotated[
        list[str] | None,
        typer.Option(
            "--through", help="An entry that the chain has to have: <seq>:<hash>; may be repeated."
        ),
    ] = None,
    anchors: Annotated[
        Path | None,
        typer.Option(
            "--anchors", help="A file of anchors, all of which the chain has to have, one a line."
        ),
    ] = None,
    distrust_after: Annotated[
        str | None,
        typer.Option(
            "--distrust-after",
            help="Trust nothing that this entry's key signed after it: <seq>:<hash>.",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            help="A signed checkpoint that the chain has to contain: --policy or --log.",
        ),
    ] = None,
    policy: PolicyOption = None,
    log: LogOption = None,
    signatures: Annotated[
        str,
        typer.Option(help="all: check each. tip: check the last, which vouches for all content."),
    ] = "all",
    evidence: Annotated[
        Path | None,
        typer.Option(
            "--evidence",
            help="Where to write the evidence, if the chain has two entries for one place.",
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            help="Keep in this file how far it has come, and go on from there where it is.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", help="Write the report as a page, too; there must be no such file yet."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Verify an audit chain. Exits 0 verified, 1 broken, 4 only consistent with its own key, 2 bad input."""
    from ttplan.audit.proofs.anchors import read_anchors
    from ttplan.audit.verify.file import verify_file

    if signatures not in ("all", "tip"):
        raise InputError(f"--signatures is {signatures!r}; expected all or tip")
    if html is not None and html.exists():
        raise InputError(f"{html} exists already; choose another path for the report")
    if checkpoint is None and (policy is not None or log is not None):
        raise InputError("--policy and --log are for a checkpoint; give it, too (--checkpoint)")
    if checkpoint is not None and since is not None:
        raise InputError(
            "a checkpoint is of the whole chain, and --since checks a part of it; leave out one of them"
        )
    passed = [TipAnchor.parse(text) for text in through or []]
    passed += [] if anchors is None else [kept.anchor for kept in read_anchors(anchors)]
    options: dict[str, Any] = {
        "public_key": key_hex,
        "since": since,
        "anchor": anchor,
        "passes_through": passed,
        "distrust_after": None if distrust_after is None else TipAnchor.parse(distrust_after),
        "signatures": signatures,
        "on_fork": None if evidence is None else lambda data: _keep(evidence, data),
        "resume": resume,
    }
    report = (
        verify_file(source, **options)
        if is_export(source)
        else open_store(source).verify(**options)
    )
    if checkpoint is not None and report.first_bad is None:
        sealed = _sealed(source, key_hex, checkpoint, policy, log)
        report = report.model_copy(update={"checks": (*report.checks, sealed)})
    if html is not None:
        _keep(html, report.page(_name(source)).encode())
    if json:
        show_json(report.model_dump(mode="json"))
    else:
        print(report)
    raise typer.Exit(report.exit_code)


def _name(source: str) -> str:
    """What a source is called in a report: its last part, without what an address may say of a user."""
    return source.rstrip("/").rsplit("/", 1)[-1].partition("?")[0] or source


def _sealed(
    source: str, key_hex: str | None, checkpoint: Path, policy: Path | None, log: str | None
) -> str:
    from ttplan.audit.c2sp.tlog import check_tree_covers
    from ttplan.operations.chain.transparency_log import read_checkpoint_file, seal_check

    found = read_checkpoint_file(checkpoint)
    words = seal_check(found, policy=policy, log=log)
    check_tree_covers(
        found, collected(source, Path(source) if is_export(source) else None, key_hex).hashes
    )
    return f"that the chain begins with {words}"


def collected(store: str, chain: Path | None, key_hex: str | None) -> ChainHashes:
    """The hashes of the chain in a file, where one is given, else of a store's."""
    from ttplan.audit.verify.file import collect_file_hashes

    return (
        open_store(store).evidence.hashes(key_hex)
        if chain is None
        else collect_file_hashes(chain, key_hex)
    )


def _keep(path: Path, data: bytes) -> None:
    from ttplan.util.files import atomic_write

    with atomic_write(path) as file:
        file.write(data)


def is_export(source: str) -> bool:
    """Whether a file is a chain as JSON lines, by its name or its first character; a DuckDB file begins with neither."""
    if is_postgres_url(source):
        return False
    if Path(source).suffix in (".jsonl", ".ndjson", ".json"):
        return True
    try:
        with open(source, "rb") as file:
            return file.read(64).lstrip()[:1] == b"{"
    except OSError:
        return False


@app.command()
def export(
    output: Annotated[
        Path,
        typer.Argument(help="Where to write the audit chain, as JSON lines.", show_default=False),
    ],
    store: StoreOption = DEFAULT_STORE,
    until: Annotated[
        int | None, typer.Option(help="The last entry to write, by its seq; otherwise all are.")
    ] = None,
    with_verifier: Annotated[
        bool,
        typer.Option(
            "--with-verifier",
            help="Put verify_chain.py beside it: a verifier that one can read in one sitting.",
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file where there is one.")
    ] = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Export the audit chain, for an auditor who has no access to the store."""
    workspace = open_store(store, key_file=key_file)
    count = workspace.export_chain(
        output, overwrite=overwrite, until=until, with_verifier=with_verifier
    )
    if json:
        show_json(
            {
                "path": str(output),
                "entries": count,
                "verifier": str(_verifier(output)) if with_verifier else None,
            }
        )
        return
    print(f"{count:,} {'entry' if count == 1 else 'entries'} written to {output}")
    if with_verifier:
        print(f"its verifier: python {_verifier(output)} {output} PUBLIC_KEY_HEX")


def _verifier(output: Path) -> Path:
    from ttplan.operations.chain.verify import VERIFIER

    return output.with_name(VERIFIER)


@app.command()
def anchor(
    store: StoreOption = DEFAULT_STORE,
    append: Annotated[
        Path | None,
        typer.Option(
            "--append", help="Append it to this file, in a place that the operator cannot rewrite."
        ),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option("--command", help="Run this with the anchor's line on its standard input."),
    ] = None,
    heartbeat: Annotated[
        bool,
        typer.Option(
            "--heartbeat",
            help="Append a line even where nothing changed: the chain was still there then.",
        ),
    ] = False,
    key_file: KeyOption = None,
    json: JsonOption = False,
) -> None:
    """Print where the chain ends, <seq>:<hash>, after reading it back and checking it; kept elsewhere, it proves that nothing
    was cut off."""
    from ttplan.util.commands import parse_command

    if heartbeat and append is None:
        raise InputError("--heartbeat is for a file; give it, too (--append)")
    words = None if command is None else parse_command(command, "--command")
    found = open_store(store, key_file=key_file).evidence.anchor(
        file=append, command=words, heartbeat=heartbeat
    )
    if json:
        show_json(
            {
                "anchor": str(found.tip),
                "seq": found.tip.seq,
                "hash": found.tip.hash,
                "appended": found.appended,
            }
        )
    else:
        print(found.tip)


@app.command()
def compare(
    one: Annotated[
        Path,
        typer.Argument(
            help="An exported chain, or, with --check, evidence of a fork.", show_default=False
        ),
    ],
    other: Annotated[
        Path | None, typer.Argument(help="Another export of the same chain.", show_default=False)
    ] = None,
    key_hex: KeyHexOption = None,
    evidence: Annotated[
        Path | None, typer.Option("--evidence", help="Where to write what proves two histories.")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Check such evidence: what does it prove against this key?"),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Look for two entries for one place, both signed. Exits 1 where there are: whoever holds the key signed two histories."""
    from ttplan.audit.keys.key_files import VerifyingKey
    from ttplan.audit.verify.file import check_evidence_file, compare_files

    if key_hex is None or (other is None) is not check:
        raise InputError(
            "compare takes two chains, or one file of evidence with --check; and the public key (--key-hex)"
        )
    key = VerifyingKey.from_hex(key_hex)
    found = compare_files(one, other, key) if other is not None else check_evidence_file(one, key)
    if found is not None and evidence is not None:
        _keep(evidence, found.evidence)
    if json:
        show_json(
            None
            if found is None
            else {"seq": found.seq, "hashes": found.hashes, "message": str(found)}
        )
    else:
        print(
            "no two signed entries for one place, as far as both go"
            if found is None
            else str(found)
        )
    raise typer.Exit(0 if found is None else ProofError.exit_code)
