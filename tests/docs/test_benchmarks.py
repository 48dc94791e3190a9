"""The generated page of benchmark figures: its sections and its chart, but no timing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest

from benchmarks import chains, projections
from benchmarks.chart import LINES, draw
from benchmarks.logs import ORG, make_embedded_log
from benchmarks.measure import KINDS
from benchmarks.report import Figures, markdown, write_section
from benchmarks.run import smaller, tabulate
from ttplan.store.duckdb.store import DuckDBStore


def test_a_section_is_rewritten_in_its_place_and_the_others_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for heading, text in (("One", "first"), ("Two", "second\n### deeper"), ("One", "third")):
        write_section(page, heading, text)
    assert (
        page.read_text().split("\n\n", 2)[2] == "## One\n\nthird\n\n## Two\n\nsecond\n### deeper\n"
    )


def test_growth_of_one_is_linear() -> None:
    rows = tabulate({"limit": [(10, 1.0, 5.0), (100, 10.0, 6.0), (1000, 50.0, 7.0)]}).rows
    assert [row[4] for row in rows] == ["", "1.00", "0.50"]
    assert (
        markdown(Figures("", ("a", "b"), [("x", "1")])) == "| a | b |\n| --- | ---: |\n| x | 1 |\n"
    )


def test_the_chart_is_deterministic_with_a_line_per_kind(
    tmp_path: Path,
) -> None:
    assert LINES.keys() == KINDS.keys()
    assert len(set(LINES.values())) == len({line.marker for line in LINES.values()}) == len(LINES)
    times = {name: [(10_000, 0.5), (100_000, 3.0)] for name in KINDS}
    files = [tmp_path / "one.svg", tmp_path / "other.svg"]
    for file in files:
        draw(file, {name: kind.label for name, kind in KINDS.items()}, times)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert all(kind.label.replace("`", "") in files[0].read_text() for kind in KINDS.values())


def test_quick_leaves_out_the_large_sizes() -> None:
    assert smaller(KINDS["limit"]).sizes == (10_000, 100_000, 1_000_000)
    assert smaller(KINDS["l2-all"]).sizes == (10_000,)


def test_generated_requests_with_embeddings_are_deterministic(tmp_path: Path) -> None:
    made = []
    for name in ("one", "other"):
        make_embedded_log(tmp_path / name, 300)
        with DuckDBStore(tmp_path / name).read() as snapshot:
            made.append(snapshot.requests().order_by("id").to_pyarrow())
    assert made[0].equals(made[1])
    assert set(made[0]["org_id"].to_pylist()) == {str(ORG)}
    of_one_model = made[0].filter(pc.equal(made[0]["model"], "gpt-4o"))["embedding"].to_pylist()
    vectors = np.array(of_one_model) / np.linalg.norm(of_one_model, axis=1, keepdims=True)
    nearest = (vectors @ vectors.T - 2 * np.eye(len(vectors))).max(axis=1)
    assert 0.2 < (nearest > 0.85).mean() < 1
    assert KINDS["l2-all"].run(tmp_path / "one") == 300


def test_the_measured_chain_verifies_in_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "chain.jsonl"
    chains._measure("all", 30, path)
    assert path.exists()
    monkeypatch.setattr(chains, "_SIGNED_HASHES", [])
    for name in chains.KINDS:
        chains._measure(name, 30, path)
        assert json.loads(capsys.readouterr().out)["seconds"] > 0


def test_rates_are_compared_with_the_library_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = iter([100, 100, 100, 100, 300, 100])

    def rate(name: str) -> int:
        return next(bare) if name == "bare" else 50 if name == "all" else 100

    monkeypatch.setattr(
        chains, "_measure_in_process", lambda name, entries, folder: (entries / rate(name), 40.0)
    )
    rows = chains.chain_figures(quick=True).rows
    assert [(row[1], row[4]) for row in rows] == [
        ("100,000", "100%"),
        ("10,000", "100%"),
        ("100,000", "100%"),
        ("10,000", "50%"),
        ("100,000", "25%"),
        ("10,000", "50%"),
    ]


def test_projections_compare_full_with_reference(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    efforts = {
        "reference": projections.Effort(2.0, 1.0),
        "full": projections.Effort(3.0, 2.0),
    }
    monkeypatch.setattr(projections, "make_log", lambda path, rows: None)
    monkeypatch.setattr(projections, "_measure", lambda path: efforts)
    figures = projections.projection_figures(quick=True)
    assert figures.rows[1] == ("`full`", "100,000", "3.00", "1.50", "2.00", "2.00")
    projections.write_projections(figures, tmp_path / "page.md")
    assert "of `reference`: reached." in (tmp_path / "page.md").read_text()
