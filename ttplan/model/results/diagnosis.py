"""What the log doctor finds: contradictions within a log, with prices, or with billed totals."""

from __future__ import annotations

from ttplan.model.base import LenientModel
from ttplan.model.money import Money, SignedMoney

EXAMPLES = 3


class Finding(LenientModel):
    """One kind of disagreement for a provider and model (None: for the whole log).

    `effect_usd` is how a correction changes the recorded cost: positive if the log has too little,
    None if unknown. `examples` are request ids or times as in the log. `weighs` is false for
    findings that do not make a plan wrong.
    """

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


class Diagnosis(LenientModel):
    """The log doctor's report. USD over the whole log.

    `compared` of the `rows` have a recorded cost and a price; `agreeing` of them agree. They cost
    `compared_recorded_usd` by the log and `compared_expected_usd` by the prices. `prices` names
    the prices, `notes` says what this log cannot show.
    """

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
        """Whether no finding makes a plan wrong."""
        return not any(finding.weighs for finding in self.findings)
