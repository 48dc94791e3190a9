"""Rules that a plan has to meet before it is applied, approvals of it, and what a person decided against a rule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ttplan.model.audit import Actor, Hex64

_STRICT = ConfigDict(frozen=True, extra="forbid")
RuleLevel = Literal["blocking", "advisory"]
PolicyText = Annotated[str, Field(strict=True, min_length=1, max_length=500, pattern=r"\S")]


class Rule(BaseModel):
    """One rule over a plan's result, such as `savings lower bound > 0`. A blocking one stops a plan that does not meet it."""

    model_config = _STRICT

    rule: PolicyText
    level: RuleLevel = "blocking"


class Approvals(BaseModel):
    """How many persons have to approve a plan, and whether its author is none of them."""

    model_config = _STRICT

    needed: int = Field(strict=True, ge=1, le=20)
    other_than_author: bool = Field(default=False, strict=True)


class Policy(BaseModel):
    """What every plan of a store is held to when it is applied."""

    model_config = _STRICT

    rules: tuple[Rule, ...] = ()
    approvals: Approvals | None = None


class RuleVerdict(BaseModel):
    """Whether a plan meets a rule, and what was found."""

    model_config = _STRICT

    rule: str
    level: RuleLevel
    ok: bool
    found: str


class PolicyCheck(BaseModel):
    """A plan held to the policy. `approved_by` are the chain's entries that approve it as it is now, and count."""

    model_config = _STRICT

    plan_name: str
    plan_digest: Hex64
    policy_digest: Hex64
    verdicts: tuple[RuleVerdict, ...]
    approved_by: tuple[int, ...] = ()

    @property
    def blocking(self) -> tuple[RuleVerdict, ...]:
        """The blocking rules that the plan does not meet."""
        return tuple(one for one in self.verdicts if not one.ok and one.level == "blocking")

    @property
    def exit_code(self) -> int:
        """What a command that checks exits with: 0, or 1."""
        return 1 if self.blocking else 0


class Override(BaseModel):
    """Who applies a plan against a blocking rule, and why; both go into the audit entry, for everybody to read."""

    model_config = _STRICT

    name: PolicyText
    reason: PolicyText


class Approval(BaseModel):
    """An approval in the chain: its entry, whose it is, and the plan's digest that it is of. `key` signed it, where one did."""

    model_config = _STRICT

    seq: int
    actor: Actor
    plan_digest: Hex64
    key: Hex64 | None = None
