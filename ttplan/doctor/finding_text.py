"""Findings in one line each, for the report of a reading."""

from __future__ import annotations

from ttplan.model.results.diagnosis import Diagnosis, Finding

_UNITS = {"gap": ("hour", "hours"), "totals_differ": ("difference", "differences")}


def finding_lines(found: Diagnosis) -> tuple[str, ...]:
    """Each finding in one line: what, how many, of which model, and what it is worth in USD."""
    return tuple(
        f"{finding.title}: {finding_scope(finding)}, {finding_effect(finding)}"
        for finding in found.findings
    )


def finding_scope(finding: Finding) -> str:
    """How many of what, of which provider and model."""
    one, many = _UNITS.get(finding.kind, ("request", "requests"))
    return f"{finding.count:,} {one if finding.count == 1 else many} of {priced_as(finding)}"


def priced_as(finding: Finding) -> str:
    """The provider and model, with what else tells their price; "all" for the log as a whole."""
    if finding.provider is None:
        return "all"
    more = [part for part in (finding.service_tier, finding.endpoint) if part]
    return " ".join(":".join((finding.provider, finding.model or "")).split()) + (
        f" ({', '.join(more)})" if more else ""
    )


def finding_effect(finding: Finding) -> str:
    """What the log's cost is off by."""
    effect = finding.effect_usd
    if effect is None:
        return "effect in USD not known"
    if not effect:
        return "no effect in USD"
    digits = 2 if abs(effect) >= 1 else 6
    return f"{abs(effect):,.{digits}f} USD too {'little' if effect > 0 else 'much'}"
