"""Replaying Parquet files in place gives the same result as an import, or a clear refusal."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.logs.test_reader import numbered, write
from tests.paths import DATA
from tests.workspace.test_workspace import ROUTES, opened
from ttplan.cli.entrypoint import run
from ttplan.display.plan import Plan
from ttplan.engine.rows import check_columns
from ttplan.logs.sources.parquet import find_files, open_parquet_log
from ttplan.model.errors import InputError
from ttplan.model.money import round_money, to_decimal
from ttplan.model.plan import PlanConfig, PlanResult
from ttplan.workspace import Workspace

AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
ORG = UUID(int=77)


def rows(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Requests with times as timestamps, so that a replay can read them in place."""
    return [
        row | {"ts": AT + timedelta(seconds=n)} | changes for n, row in enumerate(numbered(count))
    ]


@pytest.fixture(scope="module")
def empty_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """An empty store, which refused plans leave empty."""
    return opened(tmp_path_factory.mktemp("store") / "plans.duckdb")


def sample(path: Path, count: int) -> Path:
    """The first rows of the test log, written to a file."""
    pq.write_table(pq.read_table(DATA / "requests.parquet").slice(0, count), path)
    return path


def rows_in_place(path: Path | Sequence[Path]) -> list[dict[str, Any]]:
    """The rows that a replay reads, ordered by id."""
    with open_parquet_log(path) as lake:
        return lake.table.order_by("id").to_pyarrow().to_pylist()  # type: ignore[no-any-return]


def comparable(result: PlanResult) -> dict[str, Any]:
    """A result without its ids and the caveat about files."""
    fields = result.model_dump()
    fields["caveats"] = tuple(
        caveat for caveat in fields["caveats"] if "read where they are" not in caveat
    )
    return {name: value for name, value in fields.items() if name not in ("plan_id", "org_id")}


def test_replaying_files_in_place_equals_replaying_an_import(tmp_path: Path) -> None:
    config = PlanConfig(l1_ttl_seconds=300, cluster="hour")
    path = sample(tmp_path / "requests.parquet", 3_000)
    imported = opened(tmp_path / "a.duckdb")
    imported.import_logs(path, check=False)
    expected = imported.plan(ROUTES, name="x", config=config)
    workspace = opened(tmp_path / "b.duckdb")
    plan = workspace.plan(
        ROUTES,
        name="x",
        config=config,
        requests=path,
        memory_limit="500MB",
    )
    assert comparable(plan.result) == comparable(expected.result)
    assert "read where they are, in one Parquet file" in plan.result.caveats[-1]
    assert workspace.show(plan.plan_id).run == plan.run
    with workspace.store.read() as snapshot:
        assert snapshot.requests().count().to_pyarrow().as_py() == 0
        assert snapshot.org_id() == plan.result.org_id
    workspace.apply(plan)
    assert workspace.show(plan.plan_id).status == "applied"


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "cost_usd": st.floats(0, 10**6, allow_subnormal=False).map(abs),
                "baseline_cost_usd": st.none() | st.floats(0, 10).map(abs),
                "input_tokens": st.integers(0, 9),
                "cached_tokens": st.none() | st.integers(0, 9),
                "latency_ms": st.none() | st.integers(0, 10**6),
                "tag": st.none() | st.sampled_from(["", "chat"]),
                "cached": st.none() | st.booleans(),
            }
        ),
        min_size=1,
        max_size=20,
    )
)
def test_values_are_read_like_an_import_reads_them(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("lake")
    schema = {
        "cost_usd": pa.float64(),
        "baseline_cost_usd": pa.float64(),
        "cached_tokens": pa.int32(),
        "latency_ms": pa.float64(),
    }
    schema |= {"tag": pa.string(), "cached": pa.bool_()}
    table = pa.Table.from_pylist(
        [row | more for row, more in zip(rows(len(drawn)), drawn, strict=True)]
    )
    for name, kind in schema.items():
        table = table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))
    pq.write_table(table, folder / "log.parquet")
    imported = opened(folder / "a.duckdb")
    imported.import_logs(folder / "log.parquet", check=False)
    columns = ["ts", "provider", "model", "input_tokens", "output_tokens", "status"]
    columns += ["cached_tokens", "cost_usd", "baseline_cost_usd", "cached", "latency_ms", "tag"]
    with imported.store.read() as snapshot:
        expected = snapshot.requests().order_by("ts").select(columns).to_pyarrow().to_pylist()
    with open_parquet_log(folder / "log.parquet") as log:
        in_place = log.table.order_by("ts").select(columns)
        assert in_place.to_pyarrow().to_pylist() == expected


@pytest.mark.parametrize(
    "cost", [0.1, 1e-12, 5e-13, 4.9999e-13, 0.1234567890125, 2.5e-7, 123456.789, 1 / 3, 9.87e11]
)
def test_a_float_is_rounded_from_its_shortest_text(tmp_path: Path, cost: float) -> None:
    (row,) = rows_in_place(write(tmp_path / "log.parquet", rows(1, cost_usd=cost)))
    assert row["cost_usd"] == round_money(to_decimal(cost)) == row["baseline_cost_usd"]


def test_decimals_are_kept_and_missing_values_filled_in(
    tmp_path: Path,
) -> None:
    cost = Decimal("0.000000000123")
    path = write(tmp_path / "log.parquet", rows(2, cost_usd=cost, extra="kept"))
    for row in rows_in_place(path):
        assert (row["cost_usd"], row["baseline_cost_usd"]) == (cost, cost)
        assert (
            row["cached_tokens"],
            row["cached"],
            row["status"],
            row["latency_ms"],
            row["tag"],
        ) == (0, False, 200, None, None)
        assert (row["org_id"], row["extra"]) == (None, "kept")
        assert "body_lower" not in row
    with open_parquet_log(path) as lake:
        check_columns(lake.table)


def test_a_column_without_a_type_counts_as_missing(tmp_path: Path) -> None:
    path = tmp_path / "requests.parquet"
    pq.write_table(pa.Table.from_pylist(rows(20, service_tier=None, tag=None)), path)
    assert pq.read_schema(path).field("service_tier").type == pa.null()
    read = rows_in_place(path)
    assert len(read) == 20
    assert {row["tag"] for row in read} == {None}
    assert "service_tier" not in read[0]


def test_files_globs_and_folders_count_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    names = ["a.parquet", "deep/b.parquet", "deep/er/c.parquet"]
    for number, name in enumerate(names):
        write(tmp_path / name, [row | {"id": f"{number}"} for row in rows(1)])
    a, b, c = (tmp_path / name for name in names)
    assert find_files(a) == [a]
    assert find_files(tmp_path) == [a, b, c]
    assert find_files(f"{tmp_path}/deep/*.parquet") == [b]
    assert find_files(f"{tmp_path}/**/*.parquet") == [a, b, c]
    assert find_files([c, tmp_path / "deep"]) == [c, b]
    assert [row["id"] for row in rows_in_place([tmp_path / "deep", a])] == ["0", "1", "2"]
    odd = write(tmp_path / "odd[1].parquet", rows(1))
    assert find_files(odd) == [odd]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ts": "2026-05-01T12:00:00Z"}, "column ts is string; expected instants"),
        ({"ts": datetime(2026, 5, 1)}, "expected instants: timestamps with a time zone"),
        ({"cost_usd": "0.1"}, "column cost_usd is string; expected numbers"),
        ({"input_tokens": "ten"}, "column input_tokens is string; expected whole numbers"),
        ({"cached": 1}, "column cached is int64; expected true and false"),
        ({"input_tokens": 1.5}, "input_tokens in 2 rows, expected 0 up to below"),
        ({"input_tokens": -1}, "input_tokens in 2 rows"),
        ({"cost_usd": -0.5}, "cost_usd in 2 rows"),
        ({"cost_usd": float("nan")}, "cost_usd in 2 rows"),
        ({"cost_usd": 1e13}, "cost_usd in 2 rows"),
        ({"baseline_cost_usd": float("inf")}, "baseline_cost_usd in 2 rows"),
        ({"latency_ms": 0.5}, "latency_ms in 2 rows"),
        ({"provider": ""}, "provider in 2 rows, never null"),
        ({"org_id": "acme"}, "org_id has to be a UUID"),
    ],
)
def test_invalid_values_are_refused_and_nothing_is_written(
    tmp_path: Path, empty_workspace: Workspace, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "log.parquet", rows(2, **change))
    with pytest.raises(InputError, match=message):
        empty_workspace.plan(ROUTES, name="x", requests=path)
    assert empty_workspace.plans().empty
    with empty_workspace.store.read() as snapshot:
        assert snapshot.org_id() is None


def test_missing_or_mismatched_files_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "a.parquet", rows(1))
    other = write(tmp_path / "b.parquet", rows(1, cost_usd=Decimal("0.1")))
    (tmp_path / "empty").mkdir()
    junk = tmp_path / "junk.parquet"
    junk.write_bytes(b"PAR1 not at all")
    (lacking := rows(1))[0].pop("model")
    cases = [
        (tmp_path / "none.parquet", "no such file"),
        (tmp_path / "empty", "no Parquet files there"),
        (tmp_path / "z*.parquet", "no Parquet files there"),
        ([], "no Parquet files were given"),
        (junk, "junk.parquet cannot be read as parquet"),
        (
            [good, other],
            r"b.parquet: column cost_usd is DECIMAL\(.*\), and in .*a.parquet it is DOUBLE",
        ),
        (
            write(tmp_path / "c.parquet", lacking),
            "no column model; expected at least id, ts, provider",
        ),
    ]
    for path, message in cases:
        with pytest.raises(InputError, match=message):
            rows_in_place(path)  # type: ignore[arg-type]


def test_a_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", rows(5000))
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"log.parquet cannot be read as parquet"):
        opened(tmp_path / "a.duckdb").plan(ROUTES, name="x", requests=path)


def test_an_id_in_two_rows_is_refused(tmp_path: Path) -> None:
    first, second = (
        write(tmp_path / "a.parquet", rows(3)),
        write(tmp_path / "b.parquet", rows(5)[2:]),
    )
    with pytest.raises(
        InputError, match=r"request id '00000000-0000-0000-0000-000000000002' stands in 2 rows"
    ):
        opened(tmp_path / "a.duckdb").plan(ROUTES, name="x", requests=[first, second])


def test_the_organisation_of_the_requests(tmp_path: Path) -> None:
    two = [row | {"org_id": str(UUID(int=n))} for n, row in enumerate(rows(2), 77)]
    path = write(tmp_path / "two.parquet", two)
    with pytest.raises(
        InputError, match="requests of 2 organisations; open the store with the org_id of one"
    ):
        opened(tmp_path / "a.duckdb").plan(ROUTES, name="x", requests=path)
    plan = opened(tmp_path / "b.duckdb", org_id=ORG).plan(ROUTES, name="x", requests=path)
    assert (plan.result.org_id, plan.result.sample_size) == (ORG, 1)
    assert any("another organisation" in caveat for caveat in plan.result.caveats)
    nobody = opened(tmp_path / "c.duckdb", org_id=ORG).plan(
        ROUTES, name="x", requests=write(tmp_path / "no.parquet", rows(3))
    )
    assert (nobody.result.org_id, nobody.result.sample_size) == (ORG, 3)
    own = write(tmp_path / "own.parquet", rows(3, org_id=str(ORG).upper()))
    assert opened(tmp_path / "d.duckdb").plan(ROUTES, name="x", requests=own).result.org_id == ORG


def test_memory_limits(tmp_path: Path) -> None:
    path = write(tmp_path / "log.parquet", rows(2))
    workspace = opened(tmp_path / "a.duckdb")
    with pytest.raises(InputError, match="memory_limit is 'much'; expected a size such as 2GB"):
        workspace.plan(ROUTES, name="x", requests=path, memory_limit="much")
    with pytest.raises(
        InputError, match="memory_limit is for requests that are replayed where they are"
    ):
        workspace.plan(ROUTES, name="x", memory_limit="2GB")
    with open_parquet_log(path, memory_limit="300 MB") as lake:
        limit, zone = (
            lake.table.get_backend()
            .con.execute("SELECT current_setting('memory_limit'), current_setting('TimeZone')")
            .fetchone()
        )
    assert (limit, zone) == ("286.1 MiB", "UTC")
    with pytest.raises(InputError, match="memory_limit 1MB is not enough for this replay"):
        workspace.plan(
            ROUTES,
            name="x",
            requests=DATA / "requests.parquet",
            memory_limit="1MB",
            config=PlanConfig(l1_ttl_seconds=9),
        )


def test_a_small_limit_spills_and_cleans_up(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    spill.mkdir()
    with open_parquet_log(
        DATA / "requests.parquet", memory_limit="60MB", temp_folder=spill
    ) as lake:
        connection = lake.table.get_backend().con
        connection.execute(
            "CREATE TEMP TABLE many AS SELECT *, repeat(md5(i::VARCHAR), 20) AS text"
            " FROM range(300000) AS n(i)"
        )
        assert [name for _, _, names in os.walk(spill) for name in names]
    assert list(spill.iterdir()) == []


def test_the_command_line_replays_files_in_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, routes = str(tmp_path / "a.duckdb"), str(ROUTES)
    sample(tmp_path / "requests.parquet", 1_000)
    options = ["--requests", str(tmp_path / "req*.parquet"), "--memory-limit", "1GB"]
    assert run(["plan", routes, "--name", "x", "--store", store, *options, "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    document = json.loads(printed.out)
    assert document["result"]["sample_size"] == 1_000
    assert isinstance(opened(tmp_path / "a.duckdb").show(document["plan_id"]), Plan)
    assert run(["plan", routes, "--name", "x", "--store", store, "--memory-limit", "1GB"]) == 2
    assert "--requests" in capsys.readouterr().err
