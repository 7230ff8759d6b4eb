"""A bandit over steps: the step with the highest expected gain for its cost is next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.search.state import SearchState
from planner.search.step import Step

Expected = Callable[[SearchState], float]
"""The gain that is expected of a step before it is tried, relative to the makespan."""


@dataclass(frozen=True)
class Adaptive:
    """Run the step with the highest expected gain for its cost, again and again, until none is expected to gain enough.

    After each run the expectation of the step is the mean of the previous one and of what was gained / its cost.
    ``steps``: each with its first expectation, and its cost: how long it takes, roughly, x the shortest.
    Costs are not measured, so that a search takes the same course on any machine. Of equals the first is next.
    """

    steps: Sequence[tuple[Step, Expected, float]]

    @property
    def name(self) -> str:
        """The steps that take turns."""
        return f"in turns: {', '.join(step.name for step, *_ in self.steps)}"

    def supports(self, state: SearchState) -> bool:
        """Whether any step does."""
        return any(step.supports(state) for step, *_ in self.steps)

    def run(self, state: SearchState) -> None:
        """Take turns. A plan is made before each."""
        incumbent, params = state.incumbent, state.params.adaptive
        least = params.least_of_many if state.has_many_tasks else params.least
        gains = {step: expected(state) for step, expected, _ in self.steps if step.supports(state)}
        costs = {step: cost for step, _, cost in self.steps}
        while gains and incumbent.best is not None and not incumbent.met:
            step = max(gains, key=lambda each: gains[each])
            before = incumbent.best.makespan
            incumbent.publish_best()
            step.run(state)
            gains[step] = (gains[step] + (1 - incumbent.best.makespan / before) / costs[step]) / 2
            if gains[step] < least:
                del gains[step]
