"""The bounds over all placements. A new one is a file with its function and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from planner.bounds.energy import energy_bound
from planner.bounds.packing import indivisible_bound
from planner.bounds.patterns import pattern_bound
from planner.bounds.problem import group_bound, latency_bound, load_bound, longest_chain
from planner.bounds.turn import turn_bound
from planner.bounds.warm_up_drain import warm_up_drain_bound
from planner.common.budget import Control
from planner.problem import Problem


@dataclass(frozen=True)
class Bound:
    """Seconds that no plan of a problem beats, by one argument.

    ``value`` is of problems without alternatives, but where ``weighs`` says that it knows of them; ``of`` is of any.
    """

    name: str
    assumes: str  # where it applies; elsewhere its value is 0
    dear: bool  # expensive: left until there is a schedule to compare it with
    value: Callable[[Problem, Control], float]
    weighs: bool = False

    def of(self, problem: Problem, control: Control) -> float:
        """The bound, for every choice among alternatives that the problem allows."""
        return self.value(problem if self.weighs else problem.relaxed, control)


BOUNDS: tuple[Bound, ...] = (
    Bound("longest chain", "nothing; transfers count as free", False, lambda problem, _: longest_chain(problem)),
    Bound("operator", "nothing", False, lambda problem, _: group_bound(problem)),
    Bound("load", "nothing; operators may be divided, which only lowers it", False, load_bound),
    Bound("latency", "pass times that do not depend on the device", False, lambda problem, _: latency_bound(problem)),
    Bound(
        "pattern",
        "devices all alike, compute operators all alike in their times, at most two copies",
        False,
        pattern_bound,
    ),
    Bound(
        "memory x time",
        "training with alternatives, a memory cap on every device",
        False,
        lambda problem, _: energy_bound(problem),
        weighs=True,
    ),
    Bound("turn", "training, one copy, a memory cap on every device, few microbatches", True, turn_bound, weighs=True),
    Bound("packing", "one copy; few kinds of large operators", True, indivisible_bound),
    Bound(
        "warm-up/drain",
        "training, devices all alike, a memory cap, at most two copies",
        True,
        warm_up_drain_bound,
        weighs=True,
    ),
)
"""Each holds for all placements and orders that the problem allows."""


def problem_bound(problem: Problem, control: Control) -> float:
    """Seconds that no plan beats: the largest of the cheap bounds."""
    return max(bound.of(problem, control) for bound in BOUNDS if not bound.dear)
