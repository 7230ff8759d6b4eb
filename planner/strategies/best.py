"""From a question to an answer: the search, bounds of the winner's neighbours, whole plans of the best strategies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from planner.engine import Engine
from planner.strategies.answer import Answer, neighbours
from planner.strategies.evaluate import FRACTIONS_ENOUGH, BoundWork, way_in
from planner.strategies.launch import FreeWork, Planned, PlanWork, planned_in
from planner.strategies.request import Request
from planner.strategies.search import Looked, Search, Step

PLANS_AT_LEAST = 3.0
"""Seconds that a whole plan gets, whatever is left."""

NEIGHBOURS = 3.0
"""Seconds at most for the bounds of neighbours that have none."""

Stops = tuple[type[BaseException], ...]


def best_strategies(
    request: Request,
    engine: Engine,
    time_limit: float,
    gap: float,
    top: int,
    plans: int,
    launch: bool = False,
    listener: Callable[[str], None] = lambda what: None,
    stops: Stops = (KeyboardInterrupt,),
) -> Answer:
    """The best ``top`` strategies that are found within ``time_limit`` seconds, with plans of the first ``plans``.

    ``launch``: with the files that launch those. ``gap``: the relative distance of the best step from the bound of the
    space at which the search ends. ``listener`` hears of what goes on, in words. ``stops``: what ends the search early,
    with what is known by then.
    """
    search = Search(request, engine, time_limit, gap, listener)
    found = search.run(stops)
    chosen = tuple(found.ranked()[:top])
    if not chosen or found.interrupted:
        return Answer(request, found, chosen, {})
    try:
        _bound_neighbours(search, chosen[0])
        made = _planned(search, chosen[:plans], launch, listener)
    except stops:
        found.interrupted = True
        return Answer(request, found, chosen, {})
    order = sorted(range(len(chosen)), key=lambda place: chosen[place].seconds)  # a whole plan may be better
    places = {place: new for new, place in enumerate(order)}
    return Answer(
        request, found, tuple(chosen[place] for place in order), {places[place]: plan for place, plan in made.items()}
    )


def best_numbers(
    request: Request,
    engine: Engine,
    time_limit: float,
    gap: float,
    top: int,
    plans: int,
    launch: bool,
    within: float | None,
    listener: Callable[[str], None] = lambda what: None,
    stops: Stops = (KeyboardInterrupt,),
) -> tuple[Answer, Sequence[Answer]]:
    """The answer for the best of several numbers of GPUs, and that for each of them.

    ``within``: the fewest GPUs whose step takes at most so many seconds; None: those with the cheapest token, that is
    the most tokens a second and GPU. Each number gets an equal part of the time.
    """
    answers: list[Answer] = []
    started = time.monotonic()
    for k, gpus in enumerate(request.gpus):
        left = started + time_limit - time.monotonic()
        one = replace(request, gpus=(gpus,))
        share = max(1.0, left / (len(request.gpus) - k))
        answers.append(best_strategies(one, engine, share, gap, top, plans, launch, listener, stops))
        if answers[-1].found.interrupted:
            break
    solved = [answer for answer in answers if answer.chosen]
    enough = [answer for answer in solved if within is not None and answer.found.best <= within]
    if enough:
        return enough[0], answers
    if within is not None and solved:
        return min(solved, key=lambda answer: answer.found.best), answers
    cheapest = min(solved or answers, key=lambda answer: answer.found.best * answer.request.gpus[0])
    return cheapest, answers


def _bound_neighbours(search: Search, winner: Looked) -> None:
    """The bounds of the winner's neighbours that were never looked at: what they would cost at least."""
    some = [
        looked.candidate
        for looked, _ in neighbours(search.found.looked, winner.candidate)
        if looked.step < Step.FRACTIONS and not looked.without
    ]
    if not some:
        return
    engine, end = search.engine, time.monotonic() + NEIGHBOURS
    works = [BoundWork(search.request, (candidate,), FRACTIONS_ENOUGH, NEIGHBOURS) for candidate in some]
    for work in works:
        engine.submit(work)
    while engine.pending and time.monotonic() < end:
        for outcome in engine.wait(timeout=0.1):
            search.note(outcome)


def _planned(
    search: Search, chosen: Sequence[Looked], launch: bool, listener: Callable[[str], None]
) -> dict[int, Planned]:
    """The plans of the chosen, by place, as far as the time allows; and what the first would take without a runtime."""
    engine, end = search.engine, search.started + search.time_limit
    rounds = -(-(len(chosen) + 1) // max(1, engine.workers))
    each = round(max(PLANS_AT_LEAST, (end - time.monotonic()) / rounds - 2.0), 1)
    made: dict[int, Planned] = {}
    ways = [way_in(looked.result or {}) for looked in chosen]
    for place, (looked, way) in enumerate(zip(chosen, ways, strict=True)):
        if looked.result is not None and "plan" in looked.result:  # of no runtime: it was made when it was found
            made[place] = Planned(looked.result["plan"], {}, [])
            continue
        engine.submit(PlanWork(search.request, looked.candidate, each, way, looked.lower_bound, launch))
    if chosen and ways[0] is not None:  # last: a plan that can be run is worth more
        engine.submit(FreeWork(search.request, chosen[0].candidate, each, ways[0]))
    places = {looked.candidate: place for place, looked in enumerate(chosen)}
    while engine.pending and time.monotonic() < end + 1.0:
        for outcome in engine.wait(timeout=0.2):
            work, result = outcome.work, outcome.result
            if not isinstance(work, PlanWork | FreeWork) or work.request is not search.request:
                continue  # what the search had begun
            listener(search.words(work.label))
            place = places[work.candidate]
            if result is None:
                search.found.notes.append(f"{work.label}: {outcome.reason}")
            elif isinstance(work, FreeWork):
                step = min(float(result["seconds"]), chosen[place].seconds)  # its own way is a plan there
                search.found.free = step, min(step, float(result["lower_bound"] or 0.0))
            else:
                made[place] = planned_in(result)
                _improve(chosen[place], result)
    return made


def _improve(looked: Looked, result: Mapping[str, Any]) -> None:
    """Take over what the whole plan has shown of a strategy."""
    looked.lower_bound = min(max(looked.lower_bound, result["lower_bound"]), result["seconds"])
    assert looked.result is not None
    if result["seconds"] < looked.seconds:
        looked.result |= {key: result[key] for key in ("seconds", "peak_bytes", "bubble_ratio")}
