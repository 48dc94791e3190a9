"""Checking the costs of a store, a file and a bill; looking up prices and showing them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.paths import DOCS
from tests.support.doctor_logs import NOW, Row, clean, plain, table
from ttplan.cli.entrypoint import run
from ttplan.display.logs import DiagnosisCard, verdict
from ttplan.display.prices import price_text
from ttplan.doctor.finding_text import finding_lines
from ttplan.engine.dialects import fetch
from ttplan.model.errors import InputError
from ttplan.model.results.diagnosis import Diagnosis, Finding
from ttplan.operations.logs.check_logs import check_files, check_store, check_table
from ttplan.prices.book import PriceBook
from ttplan.prices.lookup import look_up_price
from ttplan.prices.price_file import read_prices
from ttplan.store.memory import MemoryStore
from ttplan.workspace import Workspace
from ttplan.workspace.open import open_workspace

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def spoilt() -> list[Row]:
    rows = clean()[:1_500]
    for row in [row for row in rows if row["model"] == "gpt-4o" and plain(row)][::2]:
        row["cost_usd"] = Decimal(0)
    return rows


def written(folder: Path, rows: list[Row]) -> Path:
    path = folder / "log.parquet"
    pq.write_table(table(rows), path)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the spoilt log, and a store that has imported it."""
    folder = tmp_path_factory.mktemp("prepared")
    workspace = open_workspace(folder / "plans.duckdb", clock=lambda: NOW)
    workspace.import_logs(written(folder, spoilt()), progress=False)
    return folder


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path) -> Workspace:
    """The workspace of a copy of that folder."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return open_workspace(tmp_path / "plans.duckdb", clock=lambda: NOW)


def test_a_store_a_file_and_a_table_have_the_same_findings(
    workspace: Workspace, tmp_path: Path
) -> None:
    from_store = workspace.check_logs()
    (finding,) = from_store.findings
    assert (finding.kind, finding.provider, finding.model) == ("recorded_free", "openai", "gpt-4o")
    assert not from_store.healthy
    from_file = check_files([tmp_path / "log.parquet"], at=NOW)
    assert (
        from_file.findings
        == from_store.findings
        == check_table(table(spoilt()), log="t", at=NOW).findings
    )
    assert workspace.check_logs().result == from_store.result  # the store is unchanged


def test_a_store_in_memory_is_checked_too(tmp_path: Path) -> None:
    store = MemoryStore()
    workspace = Workspace(store, name="memory", clock=lambda: NOW)
    workspace.import_logs(written(tmp_path, spoilt()), progress=False)
    assert [f.kind for f in check_store(store, "memory", at=NOW).findings] == ["recorded_free"]


def test_ones_own_prices_are_what_a_log_is_held_against(
    workspace: Workspace, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("openai:gpt-4o: {input_per_million: 0, output_per_million: 0}\n")
    card = workspace.check_logs(prices=prices)
    assert {f.kind for f in card.findings} == {
        "cost_off"
    }  # those that were recorded at the catalogue's price
    assert str(prices) in card.result.prices


def test_a_files_rows_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    rows = [
        row | {"ts": row["ts"].isoformat(), "cost_usd": str(row["cost_usd"])}
        for row in clean()[:40]
    ]
    rows[3]["input_tokens"] = "many"
    rows[4]["cost_usd"] = "-0.5"
    path = tmp_path / "log.jsonl"
    path.write_text(
        "".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows)
    )
    diagnosis = check_files([path], at=NOW)
    assert (diagnosis.rows, diagnosis.findings) == (38, ())
    assert any("1 rows left out: input_tokens" in note for note in diagnosis.notes)
    assert any("1 rows adjust costs by -0.5 USD" in note for note in diagnosis.notes)


def bill(times: str, folder: Path) -> Path:
    """A daily bill of OpenAI: a multiple of the log's costs."""
    days: dict[int, Decimal] = {}
    for row in spoilt():
        if row["provider"] == "openai":
            start = int(row["ts"].replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
            days[start] = days.get(start, Decimal(0)) + row["cost_usd"]
    buckets = [
        {
            "object": "bucket",
            "start_time": start,
            "end_time": start + 86400,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": float(usd * Decimal(times)), "currency": "usd"},
                    "line_item": None,
                    "project_id": None,
                }
            ],
        }
        for start, usd in sorted(days.items())
    ]
    path = folder / f"costs-{times}.json"
    path.write_text(
        json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None})
    )
    return path


def test_only_a_bill_that_differs_is_a_finding(workspace: Workspace, tmp_path: Path) -> None:
    same = workspace.check_logs(totals=bill("1", tmp_path))
    assert [f.kind for f in same.findings] == ["recorded_free"]
    assert any("Totals of 1 file compared" in note for note in same.result.notes)
    differs = workspace.check_logs(totals=[bill("1.5", tmp_path)])
    (finding,) = [f for f in differs.findings if f.kind == "totals_differ"]
    assert finding.effect_usd is not None
    assert finding.effect_usd > 0
    assert "less in the log" in finding.detail


def test_the_card_fits_80_columns_and_says_everything(workspace: Workspace) -> None:
    shown = workspace.check_logs()
    text = repr(shown)
    assert all(len(line) <= 80 for line in text.splitlines())
    flat = " ".join(text.split())
    (finding,) = shown.findings
    assert "1 that would make a plan wrong" in flat
    for part in (
        finding.title,
        finding.remedy,
        finding.in_a_plan,
        finding.examples[0],
        f"{finding.count:,} requests of openai:gpt-4o",
    ):
        assert part in flat
    assert "USD too little" in flat
    html = shown._repr_html_()
    assert finding.examples[0] in html
    assert list(shown.frame()["kind"]) == ["recorded_free"]
    assert finding_lines(shown.result)[0].startswith("cost recorded as 0, with tokens: ")


def test_text_from_outside_is_shown_as_it_is() -> None:
    finding = Finding(
        kind="unpriced",
        title="no price known",
        provider="<b>p</b>",
        model="m\n\nm" * 60,
        service_tier="batch",
        count=1,
        examples=("<script>x</script>",),
        in_a_plan="a",
        remedy="b",
        weighs=False,
    )
    diagnosis = Diagnosis(
        log="<i>log</i>",
        prices="p",
        rows=1,
        compared=0,
        agreeing=0,
        recorded_usd=0,
        compared_recorded_usd=0,
        compared_expected_usd=0,
        findings=(finding,),
        notes=("<u>n</u>",),
    )
    html = DiagnosisCard(diagnosis)._repr_html_()
    assert not any(tag in html for tag in ("<b>", "<script>", "<i>", "<u>"))
    assert all(len(line) <= 80 for line in repr(DiagnosisCard(diagnosis)).splitlines())
    assert verdict(diagnosis) == "nothing that would make a plan wrong; 1 to be known"
    assert verdict(diagnosis.model_copy(update={"findings": ()})) == "nothing found"
    assert DiagnosisCard(diagnosis.model_copy(update={"findings": ()})).frame().empty


Captured = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Captured:
    def call(arguments: list[str]) -> tuple[int, str, str]:
        code = run(arguments)
        out = capsys.readouterr()
        return code, out.out, out.err

    return call


def test_check_on_the_command_line(workspace: Workspace, tmp_path: Path, cli: Captured) -> None:
    store = str(tmp_path / "plans.duckdb")
    for arguments in ([store], ["--store", store], [str(tmp_path / "log.parquet")]):
        code, out, _ = cli(["check", *arguments])
        assert code == 1
        assert "cost recorded as 0" in out
    code, out, _ = cli(["check", store, "--json"])
    assert (code, json.loads(out)["findings"][0]["kind"]) == (1, "recorded_free")
    fine = tmp_path / "fine"
    fine.mkdir()
    code, out, _ = cli(["check", str(written(fine, clean()[:300]))])
    assert (code, "nothing found" in out) == (0, True)
    assert cli(["check", store, str(tmp_path / "log.parquet")])[0] == 2
    assert cli(["check", str(tmp_path / "none.parquet")])[0] == 2
    code, _, err = cli(["check", store, "--totals", str(tmp_path / "none.json")])
    assert (code, "no such file" in err) == (2, True)


# --- prices -------------------------------------------------------------------


def answer(model: str, own: Any = None, **options: Any) -> str:
    answer = look_up_price(model, PriceBook(own), at=options.pop("at", AT), **options)
    assert answer is not None
    text = price_text(answer)
    assert all(len(line) <= 80 for line in text.splitlines())
    return text


def test_a_price_names_its_source_and_what_a_plan_omits() -> None:
    text = answer("claude-sonnet-4-5", at=NOW)
    for part in (
        "anthropic:claude-sonnet-4-5",
        "genai-prices",
        "cache write",
        "over 200,000 tokens",
        "batch",
    ):
        assert part in text
    assert "a plan's flat table has the base rate for prompts of any length." in " ".join(
        text.split()
    )
    assert "batch" not in answer("claude-sonnet-4-5")  # the catalogue knows none in May
    assert "takes this name for its model gpt-4o." in " ".join(
        answer("openai:gpt-4o-2024-08-06").split()
    )
    assert "16:30 to 24:00 UTC" in " ".join(
        answer("deepseek-reasoner", at=AT.replace(hour=20)).split()
    )
    assert "besides, per request" in answer("sonar", provider="perplexity")
    assert "the dearest of" in " ".join(answer("llama-3.3-70b").split())


def test_a_price_of_ones_own_is_shown_with_its_dates(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "openai:gpt-4o:\n"
        "  - {from: 2026-04-01, input_per_million: 2, output_per_million: 8, service_tiers: "
        "{batch: "
        "{input_per_million: 1, output_per_million: 4}}}\n"
        "  - {from: 2026-09-01, input_per_million: 1, output_per_million: 4}\n"
        "local:ours: {input_per_million: 0.5, output_per_million: 1}\n"
        "azure@eu:gpt-4o: {input_per_million: 3, output_per_million: 9}\n"
    )
    text = " ".join(answer("openai:gpt-4o", path).split())
    assert "your price file, openai:gpt-4o" in text
    assert "since 2026-04-01 until 2026-09-01" in text
    assert "another price from 2026-09-01" in text
    assert "batch input 1, output 4" in text
    assert "genai-prices, model gpt-4o" in answer(
        "openai:gpt-4o", path, at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert "local:ours" in answer("ours", path)
    assert "input 3" in " ".join(answer("azure@eu:gpt-4o", path).split())


def test_the_price_file_of_the_docs_is_one(tmp_path: Path) -> None:
    docs = (DOCS / "formats.md").read_text()
    path = tmp_path / "prices.yaml"
    path.write_text(docs.split("## A price file")[1].split("```yaml\n")[1].split("```")[0])
    flat = read_prices(path, AT)
    assert sorted(flat) == ["anthropic:claude-sonnet-4-5", "openai:gpt-4o-mini"]
    assert flat["anthropic:claude-sonnet-4-5"].input_per_million == Decimal("2.7")
    assert read_prices(path)["anthropic:claude-sonnet-4-5"].input_per_million == Decimal("2.5")
    assert "batch input 1.35, output 6.75" in " ".join(
        answer("anthropic:claude-sonnet-4-5", path).split()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[{input_per_million: 1, output_per_million: 1}, {input_per_million: 1, "
            "output_per_million: 1}]",
            "to have a from, later",
        ),
        (
            "[{from: 2026-05-01, input_per_million: 1, output_per_million: 1}, "
            "{from: 2026-05-01, input_per_million: 1, output_per_million: 1}]",
            "later than the one before",
        ),
        ("[]", "a:b"),
        (
            "{from: 2026-05-01T00:00:00, input_per_million: 1, output_per_million: 1}",
            "from: .*timezone",
        ),
        ("{from: soon, input_per_million: 1, output_per_million: 1}", "from"),
        (
            "{input_per_million: 1, output_per_million: 1, tiers: [{over_input_tokens: 0, "
            "input_per_million: 1, "
            "output_per_million: 1}]}",
            "over_input_tokens",
        ),
        (
            "{input_per_million: 1, output_per_million: 1, tiers: [{over_input_tokens: 9, "
            "input_per_million: 1, "
            "output_per_million: 1}, {over_input_tokens: 9, input_per_million: 1, "
            "output_per_million: 1}]}",
            "to rise from one",
        ),
        (
            "{input_per_million: 1, output_per_million: 1, service_tiers: {batch: {input: 1}}}",
            "service_tiers.batch",
        ),
        (
            "{input_per_million: 1, output_per_million: 1, cache_write_per_million: 1e-10}",
            "more than 9 digits",
        ),
    ],
)
def test_a_price_of_ones_own_that_cannot_be_used_is_named(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(f"a:b: {text}\n")
    with pytest.raises(InputError, match=message) as caught:
        PriceBook(path)
    assert f"{path}: a:b" in str(caught.value)


def test_prices_on_the_command_line(cli: Captured, tmp_path: Path) -> None:
    code, out, _ = cli(["prices", "gpt-4o", "no-such-model-9", "--at", "2026-05-01T00:00:00Z"])
    assert code == 1
    assert "no-such-model-9: no price is known" in out
    code, out, _ = cli(["prices", "gpt-4o", "--provider", "azure", "--json"])
    assert (code, json.loads(out)[0]["price"]["key"]) == (0, "azure:gpt-4o")
    prices = tmp_path / "prices.yaml"
    prices.write_text("local:ours: {input_per_million: 0.5, output_per_million: 1}\n")
    code, out, _ = cli(["prices", "ours", "--prices", str(prices)])
    assert (code, "your price file" in out) == (0, True)
    assert cli(["prices", "gpt-4o", "--at", "yesterday"])[0] == 2


def test_a_price_book_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        PriceBook(tmp_path / "none.yaml")


def test_an_import_chooses_what_the_baseline_is(tmp_path: Path, cli: Captured) -> None:
    path = written(tmp_path, spoilt())
    honest = sum((row["cost_usd"] for row in clean()[:1_500]), Decimal(0))
    for cost in ("recorded", "doctor", "recomputed"):
        store = tmp_path / f"{cost}.duckdb"
        code, out, _ = cli(["import", str(path), "--store", str(store), "--cost", cost])
        assert code == 0
        card = open_workspace(store, clock=lambda: NOW).check_logs()
        assert [f.kind for f in card.findings] == ["recorded_free"]  # the recorded values are kept
        with open_workspace(store).store.read() as snapshot:
            kept = snapshot.requests()
            paid = fetch(kept.aggregate(paid=kept.cost_usd.sum()))["paid"][0].as_py()
        assert (abs(paid - honest) < Decimal("0.001")) == (cost != "recorded")
        assert ("rows recomputed (cost=" in " ".join(out.split())) == (cost != "recorded")
        code, out, _ = cli(["import", str(path), "--store", str(store), "--cost", cost])
        assert "0 added" in out
    code, _, err = cli(
        ["import", str(path), "--store", str(tmp_path / "x.duckdb"), "--cost", "guessed"]
    )
    assert (code, "expected one of recorded, recomputed, doctor" in err) == (2, True)


def test_a_log_without_usable_rows_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spans.jsonl"
    spans = {"scopeSpans": [{"spans": [{"spanId": "s"}]}], "resource": {"attributes": []}}
    path.write_text(json.dumps({"resourceSpans": [spans]}) + "\n")
    with pytest.raises(InputError, match=r"no usable request, so there is nothing to check.*row 1"):
        check_files([path], at=AT)
    assert run(["check-logs", str(path)]) == 2
    assert "no usable request" in capsys.readouterr().err
