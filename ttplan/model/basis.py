"""What the costs of a plan's window are made of."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Money


class CostBasis(BaseModel):
    """How many requests of the window have a cost as it was recorded, how many a recomputed one, and what they cost.

    `by_doctor` of the recomputed ones were so since their record was certainly wrong, the others since all were to be.

    USD per window. `was_recorded_usd` is what the log had recorded for those that were recomputed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recorded: int
    recomputed: int
    by_doctor: int = 0
    recorded_usd: Money
    recomputed_usd: Money
    was_recorded_usd: Money
