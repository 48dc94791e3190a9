"""What the log doctor found: where a log disagrees with itself, with the prices, or with the provider's own totals."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from ttplan.model.money import Money, SignedMoney

EXAMPLES = 3


class Finding(BaseModel):
    """One kind of disagreement for one provider and model (None: for all of the log).

    `effect_usd` is what the recorded cost would change by if it were set right: positive where the log says too little, negative
    where it says too much, None where no amount can be said. `examples` are request ids as the log has them, or moments. A plan
    on this log would be wrong by what `weighs`; the others are to be known.
    """

    model_config = ConfigDict(frozen=True)

    kind: str
    title: str
    provider: str | None = None
    model: str | None = None
    service_tier: str | None = None
    endpoint: str | None = None
    count: int
    effect_usd: SignedMoney | None = None
    detail: str = ""
    examples: tuple[str, ...]
    in_a_plan: str
    remedy: str
    weighs: bool = True


class Diagnosis(BaseModel):
    """A log as the doctor saw it. USD over the whole log.

    `recorded_usd` is what the log says all of it cost. Of its `rows`, `compared` have a recorded cost and a price to compare it
    with: `agreeing` of them agree, and they cost `compared_recorded_usd` by the log, `compared_expected_usd` by the prices.
    `prices` says which prices; `notes` what cannot be seen in this log.
    """

    model_config = ConfigDict(frozen=True)

    log: str
    prices: str
    rows: int
    compared: int
    agreeing: int
    recorded_usd: Money
    compared_recorded_usd: Money
    compared_expected_usd: Money
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that would make a plan wrong."""
        return not any(finding.weighs for finding in self.findings)
