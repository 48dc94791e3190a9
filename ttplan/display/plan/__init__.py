"""The card of a plan."""

from ttplan.display.plan.card import CAUSES, Plan, plan_card, plan_lines, saved

__all__ = ["CAUSES", "Plan", "plan_card", "plan_lines", "saved"]
