"""What the costs of a window are made of, where a log says so."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from ttplan.engine.dialects import fetch
from ttplan.engine.project import keep
from ttplan.engine.replay_spec import Question
from ttplan.model.money import round_money
from ttplan.model.stored_plan import CostBasis

_MONEY = "decimal(38, 12)"


def cost_basis(table: ir.Table, question: Question) -> CostBasis | None:
    """What the question's requests say of their cost; None where the table does not say it.

    `table` may have the columns `cost_basis` ("recorded", "recomputed" or "doctor"; null is recorded) and `recorded_cost_usd`.
    """
    if "cost_basis" not in table.columns:
        return None
    kept = keep(table, question)
    was = kept.recorded_cost_usd if "recorded_cost_usd" in kept.columns else ibis.null(_MONEY)
    kept = kept.mutate(
        basis=kept.cost_basis.fill_null("recorded"),
        was=was.cast(_MONEY),
        now=kept.cost_usd.cast(_MONEY),
    )
    rows = fetch(
        kept.group_by("basis").aggregate(rows=kept.count(), now=kept.now.sum(), was=kept.was.sum())
    ).to_pylist()
    found: dict[str, dict[str, Any]] = {row["basis"]: row for row in rows}
    recorded, *computed = (found.get(basis, {}) for basis in ("recorded", "recomputed", "doctor"))
    return CostBasis(
        recorded=recorded.get("rows", 0),
        recomputed=sum(row.get("rows", 0) for row in computed),
        by_doctor=computed[-1].get("rows", 0),
        recorded_usd=_usd(recorded, "now"),
        recomputed_usd=sum((_usd(row, "now") for row in computed), Decimal(0)),
        was_recorded_usd=sum((_usd(row, "was") for row in computed), Decimal(0)),
    )


def basis_caveats(basis: CostBasis | None) -> Iterator[str]:
    """What a reader must know of costs that are not the log's own."""
    if basis is None or not basis.recomputed:
        return
    total = basis.recorded + basis.recomputed
    who = "by the doctor from" if basis.by_doctor == basis.recomputed else "from"
    yield (
        f"{basis.recomputed:,} of {total:,} requests ({basis.recomputed / total:.1%}) have costs recomputed {who} "
        f"tokens and prices: {basis.recomputed_usd:,.2f} USD, where the log recorded {basis.was_recorded_usd:,.2f} USD."
    )


def _usd(row: dict[str, Any], name: str) -> Decimal:
    return round_money(Decimal(row.get(name) or 0))
