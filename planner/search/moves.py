"""Local search on the placement: operators to another device, kept where the schedule gets shorter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from planner.placement.merge import merge
from planner.problem import Placement, Problem
from planner.schedule.search import DoesNotFit, ListSearch
from planner.search.incumbent import Incumbent

MOVES = 400
RULES_TRIED = 3


def move_groups(incumbent: Incumbent, current: ListSearch, seed: tuple[int, int]) -> ListSearch:
    """Move groups of operators while that helps; the search of the best placement reached.

    ``seed``: the user's, and the round. A placement is judged by the few rules that were best on the one it comes from.
    """
    problem = incumbent.problem
    if problem.n_devices == 1:
        return current
    rng = np.random.default_rng(seed)
    groups = [*merge(problem), *problem.groups]
    seen = {current.classes.placement.device_of}
    for _ in range(MOVES):
        if incumbent.met:
            break
        placement = _moved(problem, current.classes.placement, groups, rng)
        if placement is None or placement.device_of in seen:
            continue
        seen.add(placement.device_of)
        try:
            search = ListSearch.of(problem, placement, seed[0])
        except DoesNotFit:
            continue
        incumbent.control.report("moving operators between devices")
        limit = current.seconds / search.classes.tick
        rules = sorted(current.pool, key=lambda entry: entry[0])
        search.pool = [(search.try_rule(rule, limit), rule) for _, rule in rules[:RULES_TRIED]]
        if search.seconds < current.seconds:
            search.pool += rules[RULES_TRIED:]
            current = search
            incumbent.offer_search(search, f"list scheduling on placement {placement.origin}")
    return current


def _moved(
    problem: Problem, placement: Placement, groups: Sequence[Sequence[int]], rng: np.random.Generator
) -> Placement | None:
    """One or two groups of one copy moved, mostly to where their neighbours are; None where that is not allowed."""
    device_of = [list(copy) for copy in placement.device_of]
    copy = device_of[int(rng.integers(len(device_of)))]
    for _ in range(int(rng.integers(1, 3))):
        members = list(groups[int(rng.integers(len(groups)))])
        neighbours = {copy[j] for i in members for j in (*problem.inputs[i], *problem.consumers[i])}
        near = rng.random() < 0.7
        allowed = [
            d
            for d in (sorted(neighbours) if near else range(problem.n_devices))
            if problem.runs_on[members, d].all() and any(copy[i] != d for i in members)
        ]
        if not allowed:
            return None
        target = int(rng.choice(allowed))
        for i in members:
            copy[i] = target
    moved = tuple(map(tuple, device_of))
    if not all(problem.allows(c) for c in moved):
        return None
    origin = placement.origin.removesuffix(", operators moved")
    return Placement(moved, f"{origin}, operators moved")
