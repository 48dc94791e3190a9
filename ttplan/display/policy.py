"""A plan held to the policy, told to a person: as text that fits 80 columns, and as escaped HTML."""

from __future__ import annotations

from ttplan.display.text import WIDTH, escape, plain, wrap
from ttplan.model.policy import PolicyCheck, RuleVerdict

_LEFT = 'style="text-align:left"'


class ShownPolicyCheck:
    """A check that shows itself; `found` is None where the store has no policy."""

    def __init__(self, found: PolicyCheck | None) -> None:
        self.found = found

    @property
    def ok(self) -> bool:
        """Whether no blocking rule stands against the plan."""
        return self.found is None or not self.found.blocking

    def __repr__(self) -> str:
        lines = wrap(_title(self.found), WIDTH)
        for one in () if self.found is None else self.found.verdicts:
            said = plain(f"{one.rule}  ({one.found})")
            lines += wrap(
                said, WIDTH, initial_indent=f"  {_sign(one):<9}", subsequent_indent=" " * 11
            )
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td>{_sign(one)}</td><th scope="row" {_LEFT}>{escape(one.rule)}</th><td {_LEFT}>{escape(one.found)}</td></tr>'
            for one in (() if self.found is None else self.found.verdicts)
        )
        return (
            '<div class="jp-RenderedHTMLCommon ttplan-card" role="group" aria-label="policy" style="overflow-wrap:anywhere">'
            f"<p style='margin:0'><strong>{escape(_title(self.found))}</strong></p>"
            f'<table style="margin:0.5em 0"><tbody>{rows}</tbody></table></div>'
        )


def _title(found: PolicyCheck | None) -> str:
    if found is None:
        return "no policy: every projected plan can be applied"
    name = plain(found.plan_name)
    return f"{name}: {'BLOCKED by the policy' if found.blocking else 'meets the policy'}"


def _sign(one: RuleVerdict) -> str:
    return "ok" if one.ok else "BLOCKS" if one.level == "blocking" else "advises"
