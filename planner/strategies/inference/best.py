"""The answer to a question: all strategies, and plans of the decode steps of the best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from planner.plan.plan import Plan
from planner.strategies.inference.evaluate import Looked
from planner.strategies.inference.folder import plan_of
from planner.strategies.inference.question import Question
from planner.strategies.inference.search import Found, best_inference

PLANS_AT_LEAST = 1.0
"""Seconds that a plan gets."""

SEARCH_SHARE = 0.5
"""Of the time limit, where plans are made, too."""


@dataclass(frozen=True)
class Answer:
    """What was found. ``chosen``: the best strategies; ``plans``: the plan of each that has one, by its place there."""

    found: Found
    chosen: tuple[Looked, ...]
    plans: Mapping[int, Plan] = field(default_factory=dict)

    @property
    def winner(self) -> Plan | None:
        """The plan of the best strategy's decode steps; None where none was asked for, or found in time."""
        return self.plans.get(0)


def best_serving(
    question: Question,
    time_limit: float = 60.0,
    top: int = 5,
    plans: int = 0,
    spent: float = 0.0,
    listener: Callable[[str], None] = lambda what: None,
    stops: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
) -> Answer:
    """Look at all strategies, and plan the decode steps of the first ``plans`` of the ``top`` best.

    ``time_limit``: seconds of the whole, of which ``spent`` are over. ``stops`` end the search early, with what is
    known by then and without plans. Raises ``ProblemError`` where the GPU type has neither a calibration nor rates.
    """
    searched = time_limit * (SEARCH_SHARE if plans else 1.0)
    found = best_inference(question, max(1.0, searched - spent), listener, stops)
    chosen = tuple(found.ranked()[:top])
    made: dict[int, Plan] = {}
    planned = () if found.interrupted else chosen[:plans]
    # The same limit in every run, since a plan names it among its options.
    each = max(PLANS_AT_LEAST, round((time_limit - searched) / max(1, len(planned)), 1))
    for place, looked in enumerate(planned):
        listener(f"plan {place + 1} of {len(planned)}")
        plan = plan_of(found.phases, looked.strategy, each)
        if plan is not None:
            made[place] = plan
    return Answer(found, chosen, made)
