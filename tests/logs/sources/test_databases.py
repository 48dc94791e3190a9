"""A table of a PostgreSQL server or a DuckDB file is read like its rows in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.logs.generators.files import FIXTURES
from tests.logs.reading import report_text
from tests.paths import DATA
from tests.workspace.test_workspace import opened
from ttplan.logs.reader import LogReader
from ttplan.logs.source import ReadOptions
from ttplan.model.errors import InputError
from ttplan.util.paths import redact_url

psycopg = pytest.importorskip("psycopg")
SPEND_LOGS = """
    CREATE TABLE "LiteLLM_SpendLogs" (
        request_id text PRIMARY KEY, call_type text NOT NULL, api_key text NOT NULL DEFAULT '',
        spend double precision NOT NULL, total_tokens integer NOT NULL,
        prompt_tokens integer NOT NULL, completion_tokens integer NOT NULL,
        "startTime" timestamp(3) NOT NULL, "endTime" timestamp(3) NOT NULL,
        "completionStartTime" timestamp(3), model text NOT NULL DEFAULT '', model_id text,
        model_group text, custom_llm_provider text, api_base text, "user" text, metadata jsonb,
        cache_hit text, cache_key text, request_tags jsonb, team_id text, end_user text,
        requester_ip_address text, messages jsonb, response jsonb, session_id text, status text,
        proxy_server_request jsonb
    )
"""

LOG = FIXTURES / "litellm_spend_logs.csv"


def read(path: Any, **options: Any) -> tuple[list[dict[str, Any]], LogReader]:
    with LogReader(path, ReadOptions(**options)) as log:
        return [row for batch in log.batches() for row in batch.to_pylist()], log


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with LiteLLM's table, filled from the fixture."""
    from tests.support.postgres import server

    with (
        tempfile.TemporaryDirectory(prefix="pg-") as folder,
        server(Path(folder), "fsync=off") as made,
    ):
        server_url = made.url()
        with psycopg.connect(server_url) as connection:
            connection.execute(SPEND_LOGS)
            export = (FIXTURES / "litellm_spend_logs.csv").read_bytes()
            columns = ", ".join(f'"{name}"' for name in export.decode().splitlines()[0].split(","))
            # LiteLLM's empty columns are empty texts, not null.
            options = "(FORMAT csv, HEADER, NULL 'none')"
            load = f'COPY "LiteLLM_SpendLogs" ({columns}) FROM STDIN {options}'
            with connection.cursor().copy(load) as copy:
                copy.write(export)
            connection.execute("CREATE TABLE other (x integer)")
        yield server_url


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # A database writes the usage with other spaces; other tests compare it as JSON.
    return sorted(
        (row | {"provider_usage": row["provider_usage"] is not None} for row in rows),
        key=lambda row: row["id"],
    )


@pytest.mark.postgres
def test_a_server_table_is_read_like_its_export(url: str) -> None:
    rows, log = read(url)
    expected, _ = read(FIXTURES / "litellm_spend_logs.csv")
    assert in_order(rows) == in_order(expected)
    report = log.report()
    assert (report.format, report.rows) == ("litellm", 240)
    assert report.path.endswith("table LiteLLM_SpendLogs")
    assert "secret" not in report_text(report)


@pytest.mark.postgres
def test_a_table_can_be_named(url: str) -> None:
    assert len(read(url, table="LiteLLM_SpendLogs")[0]) == len(read(url)[0])
    with pytest.raises(
        InputError,
        match=r"has no table nothing; it has LiteLLM_SpendLogs, other\. Say which one with `table`",
    ):
        read(url, table="nothing")


def test_an_unreachable_server_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        read(f"postgresql://someone:secret@/none?host={tmp_path}")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (
        redact_url("postgresql://u:secret@db.example:5432/logs?sslmode=require")
        == "postgresql://db.example:5432/logs"
    )


def test_a_duckdb_table_is_read_like_its_export(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE other (x INTEGER)")
        source = str(FIXTURES / "litellm_spend_logs.csv")
        connection.execute(
            'CREATE TABLE "LiteLLM_SpendLogs" AS SELECT * FROM read_csv(?, header = true)', [source]
        )
    rows, log = read(path)
    assert in_order(rows) == in_order(read(FIXTURES / "litellm_spend_logs.csv")[0])
    assert (log.report().kind, log.report().format) == ("duckdb", "litellm")
    with pytest.raises(InputError, match=r"no column id, ts.*no other known format"):
        read(path, table="other")
    with duckdb.connect(str(path)) as connection:
        connection.execute('DROP TABLE "LiteLLM_SpendLogs"')
    with pytest.raises(InputError, match=r"has no table .*; it has other\. Say which one"):
        read(path)


def test_a_store_can_be_imported_as_a_log(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "a.duckdb"), opened(tmp_path / "b.duckdb")
    pq.write_table(pq.read_table(DATA / "requests.parquet").slice(0, 500), tmp_path / "log.parquet")
    first.import_logs(tmp_path / "log.parquet", check=False)
    report = second.import_logs(tmp_path / "a.duckdb", check=False)
    assert (report.added, report.format) == (500, "own")
    assert second.import_logs(tmp_path / "log.parquet", check=False).added == 0


HOSTILE_VIEWS = {
    "a file": "read_text('{secret}')",
    "a file by a query": "query('SELECT content FROM read_text(''{secret}'')')",
    "a folder": "(SELECT file AS content FROM glob('{folder}/*'))",
}


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("view", sorted(HOSTILE_VIEWS))
def test_a_view_in_a_log_reads_no_other_file(tmp_path: Path, view: str, beside: bool) -> None:
    folder = tmp_path / "of another user"
    folder.mkdir()
    (folder / "secret.txt").write_text("a system file")
    path = tmp_path / "hostile.duckdb"
    with duckdb.connect(str(path)) as connection:
        text = HOSTILE_VIEWS[view].format(folder=folder, secret=folder / "secret.txt")
        connection.execute("CREATE TABLE logged AS SELECT * FROM read_csv(?)", [str(LOG)])
        connection.execute(
            'CREATE VIEW "LiteLLM_SpendLogs" AS SELECT * REPLACE ((SELECT any_value(content)'
            f" FROM {text}) AS request_tags) FROM logged"
        )
    with pytest.raises(InputError, match="refers to another file, which a log may not: Cannot"):
        read([path, LOG] if beside else path)


def test_a_view_of_the_logs_own_tables_is_read(tmp_path: Path) -> None:
    path = tmp_path / "honest [1].duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE logged AS SELECT * FROM read_csv(?)", [str(LOG)])
        connection.execute('CREATE VIEW "LiteLLM_SpendLogs" AS SELECT * FROM logged')
    assert in_order(read(path)[0]) == in_order(read(LOG)[0])


@pytest.mark.parametrize("name", ["a[b]*?.csv", "it's.csv", "\u00fc \U0001f600.csv"])
def test_a_file_with_an_odd_name_is_read(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "[x]").mkdir()
    path = tmp_path / "[x]" / name
    path.write_bytes(LOG.read_bytes())
    expected = in_order(read(LOG)[0])
    assert in_order(read(path)[0]) == expected
    monkeypatch.chdir(tmp_path / "[x]")
    assert in_order(read(name)[0]) == expected
