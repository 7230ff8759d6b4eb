"""Local search on the placement: operators to another device, kept where the schedule gets shorter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.placement.merge import merge
from planner.problem import Placement, Problem
from planner.schedule.search import DoesNotFit, ListSearch
from planner.search.incumbent import Incumbent

MOVES = 400
RULES_TRIED = 3
FROM_BUSIEST = 0.5
"""Share of the moves that take something from the devices of the bottleneck."""


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
        placement = _moved(problem, current.classes.placement, groups, bottleneck(current).devices, rng)
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


@dataclass(frozen=True)
class Bottleneck:
    """The stream or channel that works most in a schedule: on or between which devices, and how long."""

    kind: str
    devices: tuple[int, ...]
    seconds: float


def bottleneck(search: ListSearch) -> Bottleneck:
    """What the best schedule of a search keeps busiest."""
    classes, n_devices = search.classes, search.classes.problem.n_devices
    busy = np.zeros(classes.n_resources)
    for a, resources in enumerate(classes.resources):
        busy[list(resources)] += float(classes.seconds[a]) * int(classes.count[a])
    r = int(busy.argmax())
    if r < 2 * n_devices:
        return Bottleneck("communication stream" if r % 2 else "compute stream", (r // 2,), float(busy[r]))
    a = next(a for a, resources in enumerate(classes.resources) if r in resources)
    return Bottleneck("channel", (int(classes.device[a]), int(classes.target[a])), float(busy[r]))


def _moved(
    problem: Problem,
    placement: Placement,
    groups: Sequence[Sequence[int]],
    busiest: Sequence[int],
    rng: np.random.Generator,
) -> Placement | None:
    """One or two groups of one copy moved, mostly to where their neighbours are; None where that is not allowed.

    Half of the moves take something from the ``busiest`` devices.
    """
    device_of = [list(copy) for copy in placement.device_of]
    copy = device_of[int(rng.integers(len(device_of)))]
    for _ in range(int(rng.integers(1, 3))):
        there = [members for members in groups if any(copy[i] in busiest for i in members)]
        some = there if there and rng.random() < FROM_BUSIEST else groups
        members = list(some[int(rng.integers(len(some)))])
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
