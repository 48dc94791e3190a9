"""What commands print: text for a person, or one JSON document; and errors in terms of options."""

from __future__ import annotations

import re
import sys
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ttplan.display.text import is_unsafe, plain, plain_lines
from ttplan.model.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from ttplan.display.plan import Plan
    from ttplan.model.audit import AuditEntry

OPTION_OF_PARAMETER = {
    "actor": "--user",
    "allow_bodies": "--allow-bodies",
    "allow_drift": "--allow-drift",
    "allow_loss": "--allow-loss",
    "allow_stale": "--allow-stale",
    "allow_unpriced": "--allow-unpriced",
    "api_key_env": "--api-key-env",
    "base_url": "--base-url",
    "cost": "--cost",
    "format": "--format",
    "interval_method": "--method",
    "judge_call_usd": "--judge-call-usd",
    "key_file": "--key-file",
    "log": "--log",
    "mapping": "--mapping",
    "memory_limit": "--memory-limit",
    "min_share": "--min-share",
    "new_key": "--new-key-file",
    "on_bad_rows": "--skip-bad-rows",
    "org_id": "--org",
    "override": "--override-by",
    "policy": "--policy",
    "prices": "--prices",
    "providers": "--provider",
    "public_key": "--key-hex",
    "requests": "--requests",
    "table": "--table",
    "target_models": "--target",
    "totals": "--totals",
}
"""The option that sets a parameter of the library."""
_AMBIGUOUS = {"actor", "cost", "format", "log", "mapping", "org_id", "override", "policy"}
_AMBIGUOUS |= {"prices", "requests", "table", "totals"}
"""Names that are also words or columns: parameters only if marked, as in `prices`."""


class Card(Protocol):
    """A result that displays itself."""

    @property
    def result(self) -> Any:
        """The result, a Pydantic model."""


def name_options(message: str) -> str:
    """Replace the names of parameters in a message of the library by those of options.

    Examples
    --------
    >>> name_options("leave them out with on_bad_rows='skip'")
    'leave them out with --skip-bad-rows'
    >>> name_options("give one in a price file (prices)")
    'give one in a price file (--prices)'
    >>> name_options("the store has no requests")
    'the store has no requests'
    """

    def replace(match: re.Match[str]) -> str:
        before, name, value, after = match["before"], match["name"], match["value"], match["after"]
        is_marked = value is not None or before + after in ("()", "``")
        if name in _AMBIGUOUS and not is_marked:
            return match[0]
        shows_value = value not in (None, "True") and name != "on_bad_rows"
        option = OPTION_OF_PARAMETER[name] + (f" {value}" if shows_value else "")
        return option if before + after == "``" else before + option + after

    return _PARAMETER.sub(replace, message)


_PARAMETER = re.compile(
    rf"(?P<before>[(`]?)(?<![\w.'-])(?P<name>{'|'.join(OPTION_OF_PARAMETER)})(?![\w.'-])"
    r"(?:='?(?P<value>\w+)'?)?(?P<after>[)`]?)"
)


def show_json(value: Any) -> None:
    """Print one JSON document. Characters that could change a terminal are escaped in it."""
    print(json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON in which invisible characters, which occur in texts only, are escaped."""
    text = dumps(value, indent=indent, ensure_ascii=False, default=str)
    return "\n".join(_escape_json(line) for line in text.split("\n"))


def _escape_json(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    return "".join(dumps(char)[1:-1] if is_unsafe(char) else char for char in line)


def show_text(text: object, *, end: str = "\n", flush: bool = False, error: bool = False) -> None:
    """Print text. Its lines stay; what could change the terminal is escaped."""
    print(plain_lines(str(text)), end=end, flush=flush, file=sys.stderr if error else None)


def show_value(value: object, text: object, json: bool) -> None:
    """Print `value` as JSON, or else `text`."""
    if json:
        show_json(value)
    else:
        show_text(text)


def show_result(card: Card, json: bool) -> None:
    """Print a result: its card, or its JSON."""
    show_value(card.result and card.result.model_dump(mode="json"), card, json)


def show_plan(plan: Plan, json: bool) -> None:
    """Print a plan: its card, or its JSON without the secret nonce."""
    # A failed plan has a reason but no figures: leave out its zeros.
    hidden = {"nonce", "result"} if plan.status == "failed" else {"nonce"}
    show_value(plan.run.model_dump(mode="json", exclude=hidden), plan, json)


def show_entry(entry: AuditEntry, message: str, json: bool) -> None:
    """Print what was done and the audit entry that records it."""
    anchor = f"entry {entry.seq} of the audit chain; its anchor is {entry.seq}:{entry.hash}"
    show_value(entry.to_dict(), f"{plain(message)}\n{anchor}", json)


def show_frame(
    frame: pd.DataFrame, json: bool, *, title: str, columns: list[str], empty: str
) -> None:
    """Print some columns of a frame as a table, or all as JSON: times in RFC 3339, missing as null.

    Text of the store is never read as markup, and cannot change the terminal.
    """
    if json:
        show_json(loads(frame.to_json(orient="records", date_format="iso", date_unit="us")))
        return
    if frame.empty:
        show_text(empty)
        return
    table = Table(title=title, title_justify="left", show_edge=False)
    for name in columns:
        numeric = frame[name].dtype.kind in "iuf"
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for _, row in frame[columns].iterrows():
        table.add_row(*(Text(_cell(row[name])) for name in columns))
    Console(highlight=False).print(table)


def confirm(question: str, *cards: object, json: bool) -> None:
    """Print what is about to happen, and stop unless the person agrees."""
    if json:
        raise InputError("--json cannot ask for confirmation; add --yes")
    for card in cards:
        show_text(card, end="\n\n")
    typer.confirm(question, abort=True)


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: `1 route`, `2 routes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return plain(str(value))
