"""From a problem to a verified plan: level 1, level 2, bounds, baselines; the best of all that was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.control import Control
from planner.plan.plan import Plan
from planner.problem import Problem


class NoPlan(Exception):
    """A limit was reached before any plan was found; nothing is proven."""


@dataclass(frozen=True)
class SolveOptions:
    """How hard to search. ``baselines`` are the names to compare with; ``flags`` go into the plan's options."""

    flags: Mapping[str, Any]
    gap: float = 1e-6
    seed: int = 0
    threads: int = 2
    baselines: tuple[str, ...] = ()


def solve(problem: Problem, control: Control, options: SolveOptions) -> Plan:
    """The best plan found before the control's deadline or a stop, verified.

    Raises ``Impossible`` (proven: no plan exists) or ``NoPlan``.
    """
    raise NoPlan("not written yet")


def baseline_plan(name: str, problem: Problem, flags: Mapping[str, Any]) -> Plan:
    """The plan of a published schedule; raises ``planner.baselines.NotApplicable`` with the reason."""
    raise NoPlan("not written yet")
