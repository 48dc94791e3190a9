"""Malformed logs of every format are reported clearly, without body text, and change no store.

Each file repeats one row of a fixture. In each copy another value is replaced, at any depth.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ttplan
from tests.logs.generators.files import FIXTURES
from tests.logs.reading import read, report_text
from tests.workspace.test_workspace import content, opened
from ttplan.logs.formats import FORMATS
from ttplan.model.errors import InputError

BODY_TEXT = "THE-PROMPT-ITSELF"
MARK = "@@replaced@@"
DEEP = 10_000
LARGE = 2 * 2**20
# Replacements by kind: in JSON, and in a file of texts.
WRONG = {
    "wrong type": ('[{"a": "b"}]', "many"),
    "null": ("null", ""),
    "NaN": ("NaN", "NaN"),
    "lone surrogate": ('"\\ud800x"', "\ud800x"),
    "huge number": ("1" + "0" * 400, "1" + "0" * 400),
    "large field": ('"' + "x" * LARGE + '"', "x" * LARGE),
    "deep nesting": ("[" * DEEP + "]" * DEEP, "[" * DEEP + "]" * DEEP),
}
MAX_REPLACED = {"large field": 2, "deep nesting": 3}
"""How many values these replace, instead of all."""
COUNTED_KINDS = ("wrong type", "huge number", "deep nesting")
"""For these, the test also reads the usable rows."""
Row = dict[str, Any]
Step = str | int


class Log(NamedTuple):
    """A valid log: its format, its file suffix, its rows (with a secret body), and how to write
    them."""

    format: str
    ending: str
    rows: list[Row]
    pack: Callable[[list[str]], bytes]


def lines(texts: list[str]) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


def array(texts: list[str]) -> bytes:
    return f"[{','.join(texts)}]".encode()


def data(texts: list[str]) -> bytes:
    return f'{{"data": [{",".join(texts)}]}}'.encode()


def spans(texts: list[str]) -> bytes:
    """One compressed document with the spans of all documents."""
    inner = ",".join(text.removeprefix('{"resourceSpans": [').removesuffix("]}") for text in texts)
    return gzip.compress(f'{{"resourceSpans": [{inner}]}}'.encode(), 1)


def cells(texts: list[str]) -> bytes:
    rows = [json.loads(text) for text in texts]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(errors="surrogatepass")


def parquet(texts: list[str]) -> bytes:
    rows = [
        {k: v.encode(errors="replace").decode() for k, v in json.loads(text).items()}
        for text in texts
    ]
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist([{k: v or None for k, v in row.items()} for row in rows]), sink
    )
    return sink.getvalue()


def one_span(document: Row) -> Row:
    """A collector's line with only the first model call."""
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                if any(pair["key"] == "gen_ai.usage.input_tokens" for pair in span["attributes"]):
                    return {
                        "resourceSpans": [
                            {"resource": resource["resource"], "scopeSpans": [{"spans": [span]}]}
                        ]
                    }
    raise AssertionError("no call")


def unpacked(path: Path) -> str:
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode()


def records(path: Path) -> Iterator[Row]:
    text = unpacked(path)
    if ".csv" in path.suffixes:
        yield from csv.DictReader(io.StringIO(text))
    elif ".json" in path.suffixes:
        document = json.loads(text)
        yield from document["data"] if isinstance(document, dict) else document
    else:
        yield from map(json.loads, text.splitlines())


def load(format: str, name: str, ending: str, pack: Callable[[list[str]], bytes]) -> Log:
    """The rows of a fixture that are requests, with a secret body."""
    documents = [
        one_span(row) if "resourceSpans" in row else row for row in records(FIXTURES / name)
    ]
    requests = [
        row
        for row in documents
        if row.get("type", "GENERATION") == "GENERATION" and row.get("level") != "ERROR"
    ]
    return Log(format, ending, [with_secret(format, row) for row in requests[:60]], pack)


def with_secret(format: str, row: Row) -> Row:
    """The row with the secret in every body that the row has."""
    fields = FORMATS[format].mapping.fields
    paths = [
        path
        for name in ("body", "response_body")
        if name in fields
        for path in fields[name].paths()
    ]
    return row | {
        path: BODY_TEXT for path in paths if "." not in path and '"' not in path and path in row
    }


OWN_ROW = {
    "id": "6f1c0000-0000-4000-8000-00000000000{n:x}",
    "ts": "2026-05-01T12:00:00Z",
    "provider": "openai",
    "model": "gpt-4o",
    "input_tokens": "10",
    "output_tokens": "2",
    "cached_tokens": "1",
    "cost_usd": "0.1",
    "baseline_cost_usd": "0.1",
    "cached": "false",
    "latency_ms": "12",
    "status": "200",
    "tag": "chat",
    "body": BODY_TEXT,
    "response_body": BODY_TEXT,
}
TOKENTRIMMER_ROW = OWN_ROW | {
    "org_id": "6f1c0000-0000-4000-8000-0000000000ff",
    "cache_layer": "",
    "matched_route_id": "",
}
TOKENTRIMMER_ROW |= {"upstream_latency_ms": "9"}


def own(format: str, row: Row, ending: str, pack: Callable[[list[str]], bytes]) -> Log:
    return Log(format, ending, [row | {"id": row["id"].format(n=n)} for n in range(16)], pack)


LOGS = {
    "own.jsonl": own("own", OWN_ROW, "jsonl", lines),
    "own.csv": own("own", OWN_ROW, "csv", cells),
    "own.parquet": own("own", OWN_ROW, "parquet", parquet),
    "tokentrimmer.csv": own("tokentrimmer", TOKENTRIMMER_ROW, "csv", cells),
    "litellm.csv": load("litellm", "litellm_spend_logs.csv", "csv", cells),
    "litellm.json": load("litellm", "litellm_spend_logs.json.gz", "json", data),
    "litellm.jsonl": load("litellm", "litellm_spend_logs.jsonl.gz", "jsonl", lines),
    "litellm_payload.jsonl": load("litellm_payload", "litellm_payloads.jsonl.gz", "jsonl", lines),
    "langfuse-ui.csv": load("langfuse", "langfuse-ui.csv", "csv", cells),
    "langfuse-ui.json": load("langfuse", "langfuse-ui.json", "json", array),
    "langfuse-ui-v2.json": load("langfuse", "langfuse-ui-v2.json", "json", array),
    "langfuse-blob-legacy.jsonl": load("langfuse", "langfuse-blob-legacy.jsonl", "jsonl", lines),
    "langfuse-blob-enriched.jsonl": load(
        "langfuse", "langfuse-blob-enriched.jsonl.gz", "jsonl", lines
    ),
    "helicone.jsonl": load("helicone", "helicone.jsonl", "jsonl", lines),
    "helicone.csv": load("helicone", "helicone.csv", "csv", cells),
    "openrouter.csv": load("openrouter", "openrouter-activity.csv", "csv", cells),
    "otlp.jsonl": load("otlp", "otlp-collector.jsonl", "jsonl", lines),
    "otlp.json.gz": load("otlp", "otlp-collector.jsonl", "json.gz", spans),
}


def places(value: Any, depth: int = 0) -> Iterator[tuple[Step, ...]]:
    """The path of every value inside a value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, inner_value in inner:
        yield (step,)
        if depth < 9:
            yield from ((step, *rest) for rest in places(inner_value, depth + 1))


def replaced_places(log: Log, kind: str) -> list[tuple[Step, ...]]:
    """The paths to replace, one per row: all or a sample, and always the time."""
    all_places = list(places(log.rows[0]))
    first = next(place for place in all_places if is_time(log, place))
    few = MAX_REPLACED.get(kind, 40)
    return [first, *all_places[:: max(1, -(-len(all_places) // (few - 1)))]][:few]


def is_time(log: Log, place: tuple[Step, ...]) -> bool:
    names = {path.split(".")[-1] for path in FORMATS[log.format].mapping.fields["ts"].paths()}
    return place[-1] in names and not any(
        isinstance(step, str) and step.startswith("metadata") for step in place
    )


def with_replacement(row: Row, place: tuple[Step, ...], kind: str, texts: bool) -> str:
    """The row as JSON text with one value replaced."""
    copy = json.loads(json.dumps(row))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = MARK
    as_json, as_text = WRONG[kind]
    return json.dumps(copy).replace(f'"{MARK}"', json.dumps(as_text) if texts else as_json)


def attempt(path: Path) -> tuple[str, int | None]:
    """Read the usable rows: the text of the error or of the report, and the number of unusable rows
    (None after an error)."""
    try:
        rows, report = read(path, on_bad_rows="skip")
    except InputError as error:
        return str(error), None
    assert report.used + report.unusable + report.passed_over == report.rows
    assert report.used == len(rows)
    return report_text(report), report.unusable


def check_text(text: str, path: Path) -> None:
    assert str(path) in "".join(text.split())  # a long path is wrapped
    assert BODY_TEXT not in text
    assert "Traceback" not in text
    assert len(text) < 4_000
    assert "x" * 200 not in text
    assert "[[[[" * 20 not in text


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> ttplan.Workspace:
    """A store that already has requests."""
    made = opened(tmp_path_factory.mktemp("store") / "plans.duckdb")
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    path.write_bytes(
        lines(
            [
                json.dumps(row | {"id": f"before-{n}"})
                for n, row in enumerate(LOGS["own.jsonl"].rows)
            ]
        )
    )
    made.import_logs(path)
    return made


@pytest.fixture(scope="module")
def before(workspace: ttplan.Workspace) -> Any:
    """The content of that store, which no test changes."""
    return content(Path(str(workspace._context.name)))


def check_refused(workspace: ttplan.Workspace, path: Path) -> None:
    """Check that an import is refused with a clear message; the caller checks the store."""
    with pytest.raises(InputError) as refusal:
        workspace.import_logs(path, cost="recomputed", check=False)
    check_text(str(refusal.value), path)
    assert "\n" not in str(refusal.value)


REPRESENTATIVE = ("own.csv", "langfuse-ui.json")
"""A log with columns and a log with documents."""
OTHER_KINDS = ("own.parquet", "helicone.jsonl", "otlp.json.gz")


def log_case(name: str, *kinds: str) -> Any:
    """A test case of a log: slow if it repeats what a faster case shows of another log."""
    is_fast = name in REPRESENTATIVE or (name in OTHER_KINDS and kinds in ((), ("wrong type",)))
    return pytest.param(name, *kinds, marks=() if is_fast else pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "kind"), [log_case(name, kind) for name in LOGS for kind in WRONG]
)
def test_an_invalid_value_is_reported_and_not_imported(
    name: str, kind: str, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    log = LOGS[name]
    texts = log.pack in (cells, parquet)
    path = tmp_path / f"log.{log.ending}"
    path.write_bytes(
        log.pack(
            [
                with_replacement(log.rows[0], place, kind, texts)
                for place in replaced_places(log, kind)
            ]
        )
    )
    check_refused(workspace, path)
    assert content(Path(str(workspace._context.name))) == before
    if kind in COUNTED_KINDS:
        text, unusable = attempt(path)
        check_text(text, path)
        assert unusable != 0, "the first row has no time"


@pytest.mark.parametrize("name", [log_case(name) for name in LOGS])
def test_a_truncated_file_is_refused(
    name: str, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    log = LOGS[name]
    whole = log.pack([json.dumps(row) for row in log.rows[:12]])
    path = tmp_path / f"log.{log.ending}"
    for cut in (len(whole) // 3 + 7, len(whole) * 2 // 3 + 11):
        path.write_bytes(whole[:cut])
        check_refused(workspace, path)
    assert content(Path(str(workspace._context.name))) == before
    check_text(attempt(path)[0], path)


@pytest.mark.parametrize(
    "data",
    [b"\x00" * 5000, b"\xff\xfe{}", b"{" * 5000, b'"' * 5000, b"PAR1", b"\x1f\x8b", b"(\xb5/\xfd"],
)
def test_a_file_that_is_not_a_log_is_refused(
    data: bytes, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    for ending in ("csv", "json", "jsonl", "parquet", "log"):
        path = tmp_path / f"log.{ending}"
        path.write_bytes(data)
        check_refused(workspace, path)
    assert content(Path(str(workspace._context.name))) == before
