"""Which points allow the plans of which others, and which plans a point begins with.

A wider point allows every plan of a narrower one: it has no lower caps and no fewer copies, and all else is the same
(or its layout is auto, or its variants are more). So a plan of the narrower one is a plan of the wider one, and a bound
of the wider one bounds the narrower one.

Both are used in ways that the grid alone decides, so that the rows are the same whatever runs them, in whatever order
the solves end:

- Starts. Points that differ in cap or copies alone are numbered from the narrowest on, along each of the two. Point k
  begins with the plan of point ``k & (k - 1)``, k without its lowest binary digit: 1, 2 and 4 begin with the plan of
  0, 3 with that of 2. Then no chain is longer than the logarithm of the number of points. Were each to begin with the
  plan of the one before, all points of a chain would run one after the other, and a large cluster would idle.
  A point with all variants also begins with the plans of those that differ from it in having only some of them.
- At the end, when all are known, each point takes the best plan of all narrower points and the best bound of all wider
  ones (``share``).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from planner.problem import Problem
from planner.runtimes.names import ANY
from planner.sweeping.point import Point

NARROWING = ("memory_cap", "copies", "layout", "variants")
"""The flags in which points may differ that have plans or bounds in common."""


def may_share(point: Point) -> bool:
    """Whether plans and bounds of a point may be those of another: it seeks the shortest step of the device model.

    Plans for other objectives are compared by figures that depend on limits, and a runtime's plan is also compared
    with what it would be without the runtime.
    """
    options = point.options
    return options is not None and options.objective == "makespan" and options.runtime == ANY


def allows(wider: Point, narrower: Point) -> bool:
    """Whether every plan of ``narrower`` is a plan of ``wider``, so that its bounds hold for ``narrower``."""
    if not (may_share(wider) and may_share(narrower)) or _rest(wider) != _rest(narrower):
        return False
    a, b = wider.problem, narrower.problem
    assert a is not None and b is not None
    return a.copies >= b.copies and bool((a.cap >= b.cap).all()) and _layouts(a, b) and _variants(a, b)


def starts_of(points: Sequence[Point]) -> list[list[int]]:
    """By point: the points whose plans it begins with."""
    groups: dict[str, list[int]] = defaultdict(list)
    for k, point in enumerate(points):
        if may_share(point):
            groups[_rest(point, ("memory_cap", "copies"))].append(k)
    found: list[list[int]] = [[] for _ in points]
    for group in groups.values():
        at = {k: _place(points[k]) for k in group}
        caps, copies = sorted({cap for cap, _ in at.values()}), sorted({copies for _, copies in at.values()})
        by_place: dict[tuple[int, int], int] = {}
        for k in group:
            by_place.setdefault((caps.index(at[k][0]), copies.index(at[k][1])), k)
        for (i, j), k in by_place.items():
            before = [by_place.get((i & (i - 1), j)) if i else None, by_place.get((i, j & (j - 1))) if j else None]
            found[k] = [b for b in before if b is not None and allows(points[k], points[b])]
    for k, wider in enumerate(points):
        if may_share(wider) and _has_all_variants(wider):
            rest = _rest(wider, ("variants",))
            alike = [b for b, point in enumerate(points) if may_share(point) and _rest(point, ("variants",)) == rest]
            found[k] += [b for b in alike if not _has_all_variants(points[b]) and allows(wider, points[b])]
    return found


def _has_all_variants(point: Point) -> bool:
    assert point.problem is not None
    return point.problem.variants is None


def _place(point: Point) -> tuple[tuple[float, ...], int]:
    assert point.problem is not None
    caps = point.problem.cap.tolist()
    return (sum(caps), *caps), point.problem.copies


def _rest(point: Point, without: Sequence[str] = NARROWING) -> str:
    """The flags that have to be the same, as text."""
    return json.dumps({name: value for name, value in point.flags.items() if name not in without}, sort_keys=True)


def _layouts(wider: Problem, narrower: Problem) -> bool:
    """With chunks given, a layout may mean another number of them than auto does."""
    return wider.layout == narrower.layout or (wider.layout == "auto" and wider.chunks is None)


def _variants(wider: Problem, narrower: Problem) -> bool:
    """An operator that has none of the names stays as it is, so that only a choice of all surely allows more."""
    return wider.variants is None or wider.variants == narrower.variants
