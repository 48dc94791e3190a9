"""Which rows repeat an id, and which of them is kept: SQL for any relation of requests."""

from __future__ import annotations

from collections.abc import Sequence

from ttplan.store.protocol import SAME_ANSWER


def digest_sql(columns: Sequence[str]) -> str:
    """SQL of 128 bits of a row's content: two 64-bit hashes, over the columns in either order."""
    forth, back = ", ".join(columns), ", ".join(reversed(columns))
    return f"{{a: hash({forth}), b: hash({back})}}"


def repeats_sql(rows: str) -> str:
    """SQL of `place`, `first` and `kind` of each row of an id that occurs several times.

    `rows` is a relation with `id`, `place`, `digest`, the columns of `SAME_ANSWER`, `ts` and
    `output_tokens`. `first` is the place of the row that is kept: of those that agree with the
    first row in `SAME_ANSWER` the one with the most output, then the latest, then the first. `kind`
    is "kept" for that row, else a `ConflictKind`.

    Examples
    --------
    >>> import duckdb
    >>> answer = "'a' AS provider, 'm' AS model, 9 AS input_tokens, 0 AS cached_tokens, '' AS tag"
    >>> rows = (
    ...     f"(SELECT 1 AS id, {answer}, 0 AS ts, n AS output_tokens, n AS digest, n AS place"
    ...     " FROM (VALUES (1), (3), (2)) t(n))"
    ... )
    >>> duckdb.sql(f"FROM {repeats_sql(rows)} ORDER BY place").fetchall()
    [(1, 3, 'snapshot'), (2, 3, 'snapshot'), (3, 3, 'kept')]
    """
    same = ", ".join(SAME_ANSWER)
    first = f"first_value(({same})) OVER (PARTITION BY id ORDER BY place)"
    order = "is_alike DESC, output_tokens DESC, ts DESC, place"
    return f"""(
        WITH repeated AS (
            SELECT *, ({same}) IS NOT DISTINCT FROM {first} AS is_alike FROM {rows}
            WHERE id IN (SELECT id FROM {rows} GROUP BY id HAVING count(*) > 1)),
        ranked AS (
            SELECT *, first_value(place) OVER (PARTITION BY id ORDER BY {order}) AS first
            FROM repeated)
        SELECT r.place, r.first, CASE WHEN r.place = r.first THEN 'kept'
            WHEN r.digest IS NOT DISTINCT FROM w.digest THEN 'repeated'
            WHEN r.is_alike THEN 'snapshot' ELSE 'repeated differently' END AS kind
        FROM ranked r JOIN ranked w ON w.place = r.first)"""  # noqa: S608
