"""People, a policy and approvals for the tests of policies."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.audit.chains import KEY
from tests.support import plan_driver
from tests.support.contexts import context_of
from ttplan.model.audit import User
from ttplan.model.policy import Policy, Rule
from ttplan.operations.plans.policy import approve, set_policy

ANN, BOB = User(UUID(int=11)), User(UUID(int=12))


BLOCKS = Policy(rules=(Rule(rule="savings > 1000"),))


def set_store_policy(driver: plan_driver.PlanDriver, policy: Policy | None) -> None:
    """Set the policy of the driver's store."""
    set_policy(context_of(driver.store, KEY, driver.clock), policy, actor=plan_driver.PERSON)


def approved(driver: plan_driver.PlanDriver, by: User, **options: Any) -> Any:
    """Approve plan 1 and return the entry."""
    return approve(context_of(driver.store, KEY, driver.clock), UUID(int=1), actor=by, **options)
