"""The app, the options that several commands share, and how their values are read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from ttplan.model.audit import Actor, Anonymous, ApiKey, System, TipAnchor, User
from ttplan.model.errors import InputError
from ttplan.util.paths import is_postgres_url

if TYPE_CHECKING:
    from ttplan.audit.keys.signer import Signer
    from ttplan.store.protocol import Store
    from ttplan.workspace import Workspace

EXIT_CODES = {
    0: "success",
    1: "a check failed",
    2: "wrong usage or input",
    3: "the store could not do it",
    4: "the chain is consistent with its own key only",
}
IMPORT, PLAN, APPLY, PROVE, OPERATE = "Import", "Plan", "Apply", "Prove", "Operate"
"""Titles of the groups of commands in the help text."""
DEFAULT_STORE = "ttplan.duckdb"

app = typer.Typer(
    name="ttplan",
    help="What-if plans for LLM traffic, applied in one transaction and provable afterwards.\n\n"
    f"Exit codes: {', '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}.",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    add_completion=False,
)


def option(help: str, *names: str, **settings: Any) -> Any:
    """Describe an option; without `names` it has the parameter's name."""
    return typer.Option(*names, help=help, **settings)


def argument(help: str) -> Any:
    """Describe an argument."""
    return typer.Argument(help=help, show_default=False)


def command_group(name: str, help: str) -> typer.Typer:
    """Add a group of subcommands to the app."""
    group = typer.Typer(help=help, rich_markup_mode="rich")
    app.add_typer(group, name=name, rich_help_panel=PROVE)
    return group


# Where the data is, and how output is printed.
StoreOption = Annotated[
    str,
    option(
        "The store: a DuckDB file, or a database (postgresql://…).",
        "--store",
        envvar="TTPLAN_STORE",
    ),
]
JsonOption = Annotated[bool, option("Print one JSON document and nothing else.", "--json")]
OverwriteOption = Annotated[bool, option("Replace the file if it exists.", "--overwrite")]
OutputOption = Annotated[Path, option("The file to write; it must not exist yet.", "--output")]

# What to plan with.
PlanArgument = Annotated[str, argument("The plan's id, or its first digits.")]
PricesOption = Annotated[
    Path | None, option("Your own prices, which override the catalogue: a YAML file.")
]
StartOption = Annotated[
    str | None, option("Start of the window (inclusive): 2026-05-01 or 2026-05-01T00:00:00Z.")
]
EndOption = Annotated[str | None, option("End of the window (exclusive).")]
AllowUnpricedOption = Annotated[
    bool,
    option(
        "Count requests whose target model has no price at their actual cost.", "--allow-unpriced"
    ),
]
AllowLossOption = Annotated[
    bool, option("Continue without what cannot be expressed, and list it.", "--allow-loss")
]

# Who acts, and with which key.
KeyFileOption = Annotated[
    Path | None, option("The signing key (PEM); default: the store's own.", "--key-file")
]
KeyHexOption = Annotated[
    str | None,
    option("The chain's first public key, from a trusted source: 64 hex digits.", "--key-hex"),
]
AnchorsOption = Annotated[
    Path | None, option("A file of anchors that the chain must contain (SEQ:HASH a line).")
]
OrgOption = Annotated[
    str | None, option("The organisation that the chain must belong to: a UUID.", "--org")
]
UserOption = Annotated[
    str | None, option("The person who acts: an e-mail address, a name or a UUID.")
]
ApiKeyOption = Annotated[str | None, option("The API key that acts: its UUID.")]
SystemOption = Annotated[bool, option("The system itself acts.", "--system")]
YesOption = Annotated[bool, option("Do not ask for confirmation.", "--yes")]

# What to check a chain or a proof against.
ChainOption = Annotated[Path | None, option("An exported chain, instead of a store.", "--chain")]
PolicyOption = Annotated[
    Path | None, option("The trusted logs and witnesses: a tlog-policy file.", "--policy")
]
LogOption = Annotated[
    str | None, option("The log's verifier key, as printed by `ttplan tlog vkey`.", "--log")
]


def open_store(
    store: str | Path,
    *,
    create: bool = False,
    key_file: Path | None = None,
    org_id: str | None = None,
) -> Workspace:
    """Open the workspace of `--store`."""
    from ttplan.workspace.open import open_workspace

    return open_workspace(
        store,
        create=create,
        key_file=key_file,
        org_id=read_uuid(org_id, "--org") if org_id else None,
    )


def load_signing_key(path: Path) -> Signer:
    """Load the key in a file, with the passphrase of the environment if one is set."""
    import os

    from ttplan.audit.keys.key_files import load_key, passphrase_from_env

    return load_key(path, passphrase=passphrase_from_env(os.environ))


def read_uuid(text: str, option: str) -> UUID:
    """Parse the UUID in an option."""
    try:
        return UUID(text)
    except ValueError:
        raise InputError(f"{option} is {text!r}; expected a UUID") from None


def read_time(text: str | None, option: str) -> datetime | None:
    """Parse the time in an option: ISO 8601 text with a time zone, or a date."""
    from ttplan.operations.filters import parse_time_or_none

    return parse_time_or_none(text, option)


def read_window(start: str | None, end: str | None) -> tuple[datetime, datetime] | None:
    """Parse `--start` and `--end`: both or neither."""
    first, last = read_time(start, "--start"), read_time(end, "--end")
    if first is None and last is None:
        return None
    if first is None or last is None:
        raise InputError("--start and --end go together; give both, or neither for the whole log")
    return first, last


@contextmanager
def open_or_create_store(store: str, *, org_id: str | None = None) -> Iterator[Workspace]:
    """Open a store, which is created if it does not exist.

    If the block fails and a new store is still empty, it is removed again with its key.
    """
    files = [] if is_postgres_url(store) else [Path(store), Path(f"{store}.key.pem")]
    created = [file for file in files if not os.path.exists(file)]
    workspace = open_store(store, create=True, org_id=org_id)
    try:
        yield workspace
    except BaseException:
        if files[:1] == created[:1] != [] and is_empty(workspace.store):
            for file in created:
                file.unlink(missing_ok=True)
        raise


def is_empty(store: Store) -> bool:
    """Whether a store has neither requests nor plans nor entries."""
    with store.read() as snapshot:
        org_id = snapshot.org_id()
        return snapshot.request_count() == 0 and (
            org_id is None or not (snapshot.statuses(org_id) or snapshot.tip(org_id))
        )


def read_anchors_option(path: Path | None) -> list[TipAnchor]:
    """Return the anchors of the file in an option."""
    from ttplan.audit.proofs.anchors import read_anchors

    return [] if path is None else [line.anchor for line in read_anchors(path)]


_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def read_duration(text: str, option: str) -> timedelta:
    """Parse the duration in an option, such as 7d."""
    match = re.fullmatch(r"(\d{1,6})([dhms])", text.strip())
    if match is None or int(match[1]) == 0:
        raise InputError(f"{option} is {text!r}; expected a duration such as 7d, 12h, 30m or 90s")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def read_usd(text: str, option: str) -> Decimal:
    """Parse the amount in an option."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise InputError(f"{option} is {text!r}; expected an amount in USD") from None
    if not amount.is_finite() or amount < 0:
        raise InputError(f"{option} is {text}; expected an amount in USD, not negative")
    return amount


def read_actor(user: str | None, api_key: str | None = None, system: bool = False) -> Actor:
    """Return who acts, from at most one of `--user`, `--api-key` and `--system`."""
    if sum((user is not None, api_key is not None, system)) > 1:
        raise InputError("give only one of --user, --api-key and --system")
    if user is not None:
        return User.named(user)
    if api_key is not None:
        return ApiKey(read_uuid(api_key, "--api-key"))
    return System() if system else Anonymous()
