"""Rules that a plan must meet before it is applied, approvals, and overrides."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ttplan.model.base import ActorField, FrozenModel, Hex64

RuleLevel = Literal["blocking", "advisory"]
PolicyText = Annotated[str, Field(strict=True, min_length=1, max_length=500, pattern=r"\S")]


class Rule(FrozenModel):
    """A rule over a plan's result, such as `savings lower bound > 0`.

    A blocking rule stops a plan that violates it; an advisory one only warns.
    """

    rule: PolicyText
    level: RuleLevel = "blocking"


class Approvals(FrozenModel):
    """How many people must approve a plan, and whether its author may be one of them."""

    needed: int = Field(strict=True, ge=1, le=20)
    other_than_author: bool = Field(default=False, strict=True)


class Policy(FrozenModel):
    """What each plan of a store must meet when it is applied.

    Parameters
    ----------
    rules : sequence of Rule
    approvals : Approvals, optional

    Examples
    --------
    >>> import ttplan
    >>> policy = ttplan.Policy(rules=[{"rule": "savings lower bound > 0"}])
    >>> policy.rules[0].level
    'blocking'
    """

    rules: tuple[Rule, ...] = ()
    approvals: Approvals | None = None


class RuleVerdict(FrozenModel):
    """Whether a plan meets a rule, and the value that decided it."""

    rule: str
    level: RuleLevel
    ok: bool
    found: str


class PolicyCheck(FrozenModel):
    """The result of checking a plan against the policy.

    `approved_by` has the `seq` of each audit entry that approves the plan in its present form.
    """

    plan_name: str
    plan_digest: Hex64
    policy_digest: Hex64
    verdicts: tuple[RuleVerdict, ...]
    approved_by: tuple[int, ...] = ()

    @property
    def blocking(self) -> tuple[RuleVerdict, ...]:
        """The blocking rules that the plan violates."""
        return tuple(v for v in self.verdicts if v.level == "blocking" and not v.ok)

    @property
    def exit_code(self) -> int:
        """Exit code of the command: 0 or 1."""
        return 1 if self.blocking else 0


class Override(FrozenModel):
    """Who applies a plan against a blocking rule, and why.

    Both become part of the audit entry, which anyone with the chain can read.

    Parameters
    ----------
    name, reason : str
        At most 500 characters each.

    Examples
    --------
    >>> import ttplan
    >>> ttplan.Override(name="Ada", reason="cost incident 42").name
    'Ada'
    """

    name: PolicyText
    reason: PolicyText


class Approval(FrozenModel):
    """An approval in the audit chain: its entry's `seq`, its actor, and the plan's digest.

    `key` is the approver's public key if the approval was signed.
    """

    seq: int
    actor: ActorField
    plan_digest: Hex64
    key: Hex64 | None = None
