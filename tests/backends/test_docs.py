"""The lines in docs/backends.md are run as they stand there."""

from __future__ import annotations

import re
from typing import Any

import duckdb
import ibis
import pytest

from tests.paths import ROOT
from ttplan import replay_table
from ttplan.engine import replay
from ttplan.model.plan import PlanResult


@pytest.mark.spark
def test_the_lines_for_spark_run_and_give_duckdbs_bytes(
    spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    (lines,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "backends.md").read_text(), re.DOTALL
    )
    calls: list[Any] = []

    def noted(*args: Any, **named: Any) -> PlanResult:
        calls.append((args, named))
        return replay.replay_table(*args, **named)

    monkeypatch.setattr("ttplan.replay_table", noted, raising=False)
    namespace: dict[str, Any] = {}
    exec(compile(lines, "docs/backends.md", "exec"), namespace)  # noqa: S102
    ((_, *rest), named) = calls[0]
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    table = ibis.duckdb.from_connection(connection).read_parquet(ROOT / "data" / "requests.parquet")
    assert namespace["result"].sample_size > 1000
    assert (
        namespace["result"].model_dump_json()
        == replay_table(table, *rest, **named).model_dump_json()
    )
