"""What the costs of a window are made of, where a log says so."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir

from ttplan.engine.mapped import keep
from ttplan.engine.portable import fetch
from ttplan.engine.question import Question
from ttplan.model.basis import CostBasis
from ttplan.model.money import round_money

_MONEY = "decimal(38, 12)"


def cost_basis(table: ir.Table, question: Question) -> CostBasis | None:
    """What the question's requests say of their cost; None where the table does not say it.

    `table` may have the columns `cost_basis` ("recorded" or "recomputed"; null is recorded) and `recorded_cost_usd`.
    """
    if "cost_basis" not in table.columns:
        return None
    kept = keep(table, question)
    was = kept.recorded_cost_usd if "recorded_cost_usd" in kept.columns else ibis.null(_MONEY)
    kept = kept.mutate(basis=kept.cost_basis.fill_null("recorded"), was=was.cast(_MONEY), now=kept.cost_usd.cast(_MONEY))
    rows = fetch(kept.group_by("basis").aggregate(rows=kept.count(), now=kept.now.sum(), was=kept.was.sum())).to_pylist()
    found: dict[str, dict[str, Any]] = {row["basis"]: row for row in rows}
    recorded, recomputed = found.get("recorded", {}), found.get("recomputed", {})
    return CostBasis(
        recorded=recorded.get("rows", 0),
        recomputed=recomputed.get("rows", 0),
        recorded_usd=_usd(recorded, "now"),
        recomputed_usd=_usd(recomputed, "now"),
        was_recorded_usd=_usd(recomputed, "was"),
    )


def basis_caveats(basis: CostBasis | None) -> Iterator[str]:
    """What a reader must know of costs that are not the log's own."""
    if basis is None or not basis.recomputed:
        return
    total = basis.recorded + basis.recomputed
    yield (
        f"{basis.recomputed:,} of {total:,} requests ({basis.recomputed / total:.1%}) have costs recomputed from tokens "
        f"and prices: {basis.recomputed_usd:,.2f} USD, where the log recorded {basis.was_recorded_usd:,.2f} USD."
    )


def _usd(row: dict[str, Any], name: str) -> Decimal:
    return round_money(Decimal(row.get(name) or 0))
