"""Cards about the store: its health, a backup, and a plan checked against the policy."""

from __future__ import annotations

from ttplan.display.card import Card, ResultCard, Row, Table
from ttplan.model.policy import PolicyCheck, RuleVerdict
from ttplan.model.results.health import Backup, Health

_TABLES = {
    "requests": "requests",
    "plan_runs": "plans",
    "routes": "live routes",
    "audit_entries": "entries",
}


class HealthCard(ResultCard[Health]):
    """The health of a store."""

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return self.result.ok

    def card(self) -> Card:
        return health_card(self.result)


class BackupCard(ResultCard[Backup]):
    """A backup of a store."""

    def card(self) -> Card:
        return backup_card(self.result)


class PolicyCheckCard(ResultCard[PolicyCheck | None]):
    """A plan checked against the policy; `result` is None if the store has no policy."""

    @property
    def ok(self) -> bool:
        """Whether the plan meets every blocking rule."""
        return self.result is None or not self.result.blocking

    def card(self) -> Card:
        return policy_card(self.result)


def health_card(health: Health) -> Card:
    """The card of a health check."""
    failed = sum(not check.ok for check in health.checks)
    title = f"NOT HEALTHY: {failed} of {len(health.checks)} checks" if failed else "HEALTHY"
    rows = tuple(
        Row(
            ("ok" if check.ok else "NOT", check.name, check.said),
            tone="neutral" if check.ok else "bad",
        )
        for check in health.checks
    )
    return Card("health", title, tables=(Table(rows, header=1),))


def backup_card(backup: Backup) -> Card:
    """The card of a backup."""
    counts = ", ".join(
        f"{backup.rows[name]:,} {noun}" for name, noun in _TABLES.items() if name in backup.rows
    )
    anchor = "" if backup.anchor is None else f"; its anchor is {backup.anchor}"
    notes = ["The signing key is not in the backup: keep a copy of it somewhere else."]
    if backup.drift:
        notes.insert(0, "The live routes are not what was signed for, as in the store: see drift.")
    return Card(
        "backup",
        f"copied to {backup.path}, {backup.size_bytes:,} bytes, and read back: {counts}",
        lines=(f"chain: {backup.chain}{anchor}",),
        notes=tuple(notes),
    )


def policy_card(check: PolicyCheck | None) -> Card:
    """The card of a policy check."""
    if check is None:
        return Card("policy", "no policy: every projected plan can be applied")
    verdict = "BLOCKED by the policy" if check.blocking else "meets the policy"
    rows = tuple(_verdict_row(verdict) for verdict in check.verdicts)
    return Card("policy", f"{check.plan_name}: {verdict}", tables=(Table(rows, header=1),))


def _verdict_row(verdict: RuleVerdict) -> Row:
    if verdict.ok:
        return Row(("ok", verdict.rule, verdict.found))
    if verdict.level == "blocking":
        return Row(("BLOCKS", verdict.rule, verdict.found), tone="bad")
    return Row(("advises", verdict.rule, verdict.found), tone="warning")
