"""Malformed logs of every format: a clear report, nothing of a body in it, and a store that is as it was.

Each file is a row of a fixture again and again, each time with one value replaced: in turn every value that it has, of whatever
depth.
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
from tests.logs.made.everything import FIXTURES
from tests.logs.reading import read
from tests.workspace.test_workspace import content, opened
from ttplan.logs.formats import FORMATS
from ttplan.model.errors import InputError

BODY_TEXT = "THE-PROMPT-ITSELF"
MARK = "@@replaced@@"
DEEP = 10_000
LARGE = 2 * 2**20
# What stands where a value was: in JSON, and in a file of texts.
WRONG = {
    "wrong type": ('[{"a": "b"}]', "many"),
    "null": ("null", ""),
    "NaN": ("NaN", "NaN"),
    "lone surrogate": ('"\\ud800x"', "\ud800x"),
    "huge number": ("1" + "0" * 400, "1" + "0" * 400),
    "large field": ('"' + "x" * LARGE + '"', "x" * LARGE),
    "deep nesting": ("[" * DEEP + "]" * DEEP, "[" * DEEP + "]" * DEEP),
}
FEW = {"large field": 2, "deep nesting": 3}
"""These replace a few values only."""
COUNTED = ("wrong type", "huge number", "deep nesting")
"""With these it is looked at how many rows can be used all the same."""
Row = dict[str, Any]
Step = str | int


class Log(NamedTuple):
    """A file to spoil: its format, its ending, rows with a body that nobody may see, and how rows' texts become a file."""

    format: str
    ending: str
    rows: list[Row]
    pack: Callable[[list[str]], bytes]


# --- files -----------------------------------------------------------------------------------------------------------


def lines(texts: list[str]) -> bytes:
    return "".join(text + "\n" for text in texts).encode()


def array(texts: list[str]) -> bytes:
    return f"[{','.join(texts)}]".encode()


def data(texts: list[str]) -> bytes:
    return f'{{"data": [{",".join(texts)}]}}'.encode()


def spans(texts: list[str]) -> bytes:
    """One document of all the documents' spans, compressed."""
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
    """A collector's line with the first call of a model alone."""
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
        found = json.loads(text)
        yield from found["data"] if isinstance(found, dict) else found
    else:
        yield from map(json.loads, text.splitlines())


def load(format: str, name: str, ending: str, pack: Callable[[list[str]], bytes]) -> Log:
    """A fixture's rows that are requests, with a body put in."""
    found = [one_span(row) if "resourceSpans" in row else row for row in records(FIXTURES / name)]
    requests = [
        row
        for row in found
        if row.get("type", "GENERATION") == "GENERATION" and row.get("level") != "ERROR"
    ]
    return Log(format, ending, [with_secret(format, row) for row in requests[:60]], pack)


def with_secret(format: str, row: Row) -> Row:
    """The row with a body at each place where the format has one, if the row has that place."""
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


OURS = {
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
THEIRS = OURS | {
    "org_id": "6f1c0000-0000-4000-8000-0000000000ff",
    "cache_layer": "",
    "matched_route_id": "",
}
THEIRS |= {"upstream_latency_ms": "9"}


def own(format: str, row: Row, ending: str, pack: Callable[[list[str]], bytes]) -> Log:
    return Log(format, ending, [row | {"id": row["id"].format(n=n)} for n in range(16)], pack)


LOGS = {
    "own.jsonl": own("own", OURS, "jsonl", lines),
    "own.csv": own("own", OURS, "csv", cells),
    "own.parquet": own("own", OURS, "parquet", parquet),
    "tokentrimmer.csv": own("tokentrimmer", THEIRS, "csv", cells),
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


# --- spoiling --------------------------------------------------------------------------------------------------------


def places(value: Any, depth: int = 0) -> Iterator[tuple[Step, ...]]:
    """Where every value inside a value is."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for step, one in inner:
        yield (step,)
        if depth < 9:
            yield from ((step, *rest) for rest in places(one, depth + 1))


def chosen(log: Log, kind: str) -> list[tuple[Step, ...]]:
    """Which values are replaced, one a row: all, at most as many as there are rows, always the time's."""
    found = list(places(log.rows[0]))
    first = next(place for place in found if is_time(log, place))
    few = FEW.get(kind, 40)
    return [first, *found[:: max(1, -(-len(found) // (few - 1)))]][:few]


def is_time(log: Log, place: tuple[Step, ...]) -> bool:
    names = {path.split(".")[-1] for path in FORMATS[log.format].mapping.fields["ts"].paths()}
    return place[-1] in names and not any(
        isinstance(step, str) and step.startswith("metadata") for step in place
    )


def spoilt(row: Row, place: tuple[Step, ...], kind: str, texts: bool) -> str:
    """The row as JSON text, with another value in one place."""
    copy = json.loads(json.dumps(row))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = MARK
    as_json, as_text = WRONG[kind]
    return json.dumps(copy).replace(f'"{MARK}"', json.dumps(as_text) if texts else as_json)


def attempt(path: Path) -> tuple[str, int | None]:
    """Read what can be read: an error's text or a report's, and how many rows cannot be used; None after an error."""
    try:
        rows, report = read(path, on_bad_rows="skip")
    except InputError as error:
        return str(error), None
    assert report.used + report.unusable + report.passed_over == report.rows
    assert report.used == len(rows)
    return str(report), report.unusable


def check_text(text: str, path: Path) -> None:
    assert str(path) in text
    assert BODY_TEXT not in text
    assert "Traceback" not in text
    assert len(text) < 4_000
    assert "x" * 200 not in text
    assert "[[[[" * 20 not in text


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> ttplan.Workspace:
    """A store that has requests already."""
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
    """What that store holds, before any of these tests and after each."""
    return content(Path(str(workspace._context.name)))


def check_refused(workspace: ttplan.Workspace, before: Any, path: Path) -> str:
    """An import of the file is refused and leaves the store as it was; what was said."""
    with pytest.raises(InputError) as refusal:
        workspace.import_logs(path, cost="recomputed")
    assert content(Path(str(workspace._context.name))) == before
    check_text(str(refusal.value), path)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", LOGS)
def test_a_value_that_cannot_be_is_reported_and_nothing_is_imported(
    name: str, kind: str, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    log = LOGS[name]
    texts = log.pack in (cells, parquet)
    path = tmp_path / f"log.{log.ending}"
    path.write_bytes(
        log.pack([spoilt(log.rows[0], place, kind, texts) for place in chosen(log, kind)])
    )
    check_refused(workspace, before, path)
    if kind in COUNTED:
        text, unusable = attempt(path)
        check_text(text, path)
        assert unusable != 0, "the first row has no time"


@pytest.mark.parametrize("name", LOGS)
def test_a_file_that_is_cut_off_is_refused(
    name: str, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    log = LOGS[name]
    whole = log.pack([json.dumps(row) for row in log.rows[:12]])
    path = tmp_path / f"log.{log.ending}"
    for cut in (len(whole) // 3 + 7, len(whole) * 2 // 3 + 11):
        path.write_bytes(whole[:cut])
        check_refused(workspace, before, path)
    check_text(attempt(path)[0], path)


@pytest.mark.parametrize(
    "content",
    [b"\x00" * 5000, b"\xff\xfe{}", b"{" * 5000, b'"' * 5000, b"PAR1", b"\x1f\x8b", b"(\xb5/\xfd"],
)
def test_what_is_no_log_at_all_is_refused(
    content: bytes, tmp_path: Path, workspace: ttplan.Workspace, before: Any
) -> None:
    for ending in ("csv", "json", "jsonl", "parquet", "log"):
        path = tmp_path / f"log.{ending}"
        path.write_bytes(content)
        check_refused(workspace, before, path)
