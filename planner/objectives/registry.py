"""The objectives by name. Each is a module of its own and an entry here.

Objectives load their search when they solve, since the command line reads names and flags from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from planner.objectives.devices import Utilization
from planner.objectives.makespan import Makespan
from planner.objectives.memory import Memory
from planner.objectives.options import SolveOptions
from planner.objectives.period import Period

if TYPE_CHECKING:
    from planner.common.budget import Control
    from planner.objectives.solving import Solving
    from planner.plan.plan import Plan
    from planner.problem import Problem


class Objective(Protocol):
    """What a plan minimises."""

    name: str  # of --objective, and in plan.json
    help: str  # what is minimised
    options: tuple[str, ...]  # the limits of ``SolveOptions`` that go with it

    def solve(self, solving: Solving) -> Plan:
        """The best verified plan that is found. Raises ``Impossible`` or ``NoPlan``."""
        ...


OBJECTIVES: Mapping[str, Objective] = {each.name: each for each in (Makespan(), Memory(), Period(), Utilization())}


def objectives_with(option: str) -> tuple[str, ...]:
    """The objectives with which a limit goes."""
    return tuple(name for name, objective in OBJECTIVES.items() if option in objective.options)


def solve(problem: Problem, control: Control, options: SolveOptions) -> Plan:
    """The best plan found before the control's deadline or a stop, verified.

    Raises ``Impossible`` (proven: no plan exists) or ``NoPlan``.
    """
    from planner.objectives.solving import Solving

    control.threads = options.threads
    solving = Solving.of(problem, control, options)
    if options.start is not None:
        if solving.shortened is not None:
            control.say("the plan to begin with is left aside: of a step this long a part is searched, then repeated")
        solving.begin_with("the plan to begin with", [options.start.timetable], options.start.valid)
    return OBJECTIVES[options.objective].solve(solving)
