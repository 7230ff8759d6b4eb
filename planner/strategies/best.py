"""From a question to an answer: the search, then whole plans of the best strategies."""

from __future__ import annotations

import time
from collections.abc import Callable

from planner.engine import Engine
from planner.plan.plan import Plan
from planner.strategies.answer import Answer
from planner.strategies.launch import PlanWork, plan_in
from planner.strategies.request import Request
from planner.strategies.search import Found, Looked, Search

PLANS_AT_LEAST = 3.0
"""Seconds that a whole plan gets, whatever is left."""


def best_strategies(
    request: Request,
    engine: Engine,
    time_limit: float,
    gap: float,
    top: int,
    plans: int,
    listener: Callable[[str], None] = lambda what: None,
    stops: tuple[type[BaseException], ...] = (KeyboardInterrupt,),
) -> Answer:
    """The best ``top`` strategies that are found within ``time_limit`` seconds, with plans of the first ``plans``.

    ``gap``: the relative distance of the best step from the bound of the space at which the search ends. ``listener``
    hears of what goes on, in words. ``stops``: what ends the search early, with what is known by then.
    """
    search = Search(request, engine, time_limit, gap, listener)
    found = search.run(stops)
    chosen = tuple(found.ranked()[:top])
    made = {} if found.interrupted else _planned(search, chosen[:plans], listener)
    return Answer(request, found, chosen, made)


def _planned(search: Search, chosen: tuple[Looked, ...], listener: Callable[[str], None]) -> dict[int, Plan]:
    """The plans of the chosen, by place, as far as the time allows."""
    engine, end = search.engine, search.started + search.time_limit
    rounds = -(-len(chosen) // max(1, engine.workers))
    made: dict[int, Plan] = {}
    for looked in chosen:
        each = max(PLANS_AT_LEAST, (end - time.monotonic()) / max(1, rounds) - 2.0)
        engine.submit(PlanWork(search.request, looked.candidate, round(each, 1)))
    places = {looked.candidate: place for place, looked in enumerate(chosen)}
    while engine.pending and time.monotonic() < end + 3.0:
        for outcome in engine.wait(timeout=0.2):
            if not isinstance(outcome.work, PlanWork):
                continue  # what the search had begun
            place = places[outcome.work.candidate]
            listener(search.words(outcome.work.label))
            if outcome.result is not None:
                made[place] = plan_in(outcome.result)
                _improve(search.found, chosen[place], made[place])
    return made


def _improve(found: Found, looked: Looked, plan: Plan) -> None:
    """Take over what the whole plan has shown of a strategy."""
    looked.lower_bound = min(max(looked.lower_bound, plan.lower_bound or 0.0), plan.makespan)
    assert looked.result is not None
    if plan.makespan < looked.seconds:
        peak = max(device.peak_memory for device in plan.devices)
        looked.result |= {"seconds": plan.makespan, "peak_bytes": peak, "bubble_ratio": plan.bubble_ratio}
