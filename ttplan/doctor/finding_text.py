"""Findings as short texts, one line each, for the report of an import."""

from __future__ import annotations

from ttplan.model.results.diagnosis import Diagnosis, Finding

_UNITS = {"gap": ("hour", "hours"), "totals_differ": ("difference", "differences")}


def finding_lines(diagnosis: Diagnosis) -> tuple[str, ...]:
    """Each finding in one line: its title, how many rows, of which model, and the effect in USD."""
    return tuple(
        f"{finding.title}: {finding_scope(finding)}, {finding_effect(finding)}"
        for finding in diagnosis.findings
    )


def finding_scope(finding: Finding) -> str:
    """How many rows of which provider and model."""
    singular, plural = _UNITS.get(finding.kind, ("request", "requests"))
    return f"{finding.count:,} {singular if finding.count == 1 else plural} of {priced_as(finding)}"


def priced_as(finding: Finding) -> str:
    """The provider and model, with service tier and endpoint; "all" for the log as a whole."""
    if finding.provider is None:
        return "all"
    details = [part for part in (finding.service_tier, finding.endpoint) if part]
    name = " ".join(f"{finding.provider}:{finding.model or ''}".split())
    return f"{name} ({', '.join(details)})" if details else name


def finding_effect(finding: Finding) -> str:
    """By how much the cost of the log is wrong."""
    effect = finding.effect_usd
    if effect is None:
        return "effect in USD not known"
    if not effect:
        return "no effect in USD"
    digits = 2 if abs(effect) >= 1 else 6
    return f"{abs(effect):,.{digits}f} USD too {'little' if effect > 0 else 'much'}"
