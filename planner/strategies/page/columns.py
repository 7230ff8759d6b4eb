"""The points of a space of strategies as columns of numbers, as the page's script reads them (``space.js``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DEGREES = ("gpus", "tp", "cp", "ep", "pp", "dp", "vpp", "mbs", "zero", "recompute", "schedule")
"""What makes a strategy, in the order of the axes."""

RECOMPUTE = {"none": 0, "selective": 1, "choose": 2, "full": 3}
"""In order of what is computed again."""

STATES = ("solved", "pruned", "too slow", "out of memory", "open", "invalid")
"""What became of a strategy; those that the page draws last come first."""

DIGITS = 6
"""Significant digits of times and sizes: far less than a pixel."""

Point = Mapping[str, Any]


def columns(document: Mapping[str, Any], cap: float | None) -> dict[str, Any]:
    """All points of a ``planner-strategy`` document. Times of the unsolved are bounds, sizes of the unsolved the least.

    An axis is a degree that some point has, with its values in order; its column holds their places.
    """
    points: Sequence[Point] = document["points"]
    reasons = {reason: k for k, reason in enumerate(dict.fromkeys(_reason(point) for point in points))}
    return {
        "axes": [_axis(name, points) for name in DEGREES if any(point.get(name) is not None for point in points)],
        "states": STATES,
        "state": [STATES.index(point["state"]) for point in points],
        "seconds": [_short(point.get("seconds")) for point in points],
        "bound": [_short(point.get("lower_bound")) for point in points],
        "bytes": [_short(_bytes(point)) for point in points],
        "reasons": list(reasons),
        "reason": [reasons[_reason(point)] for point in points],
        "cap": cap,
        "best": _short(document.get("best_seconds")),
        "lowerBound": _short(document.get("lower_bound")),
        "top": [_find(each, points) for each in document["strategies"]],
        **(_serving(document, points) if document.get("mode") == "inference" else {}),
    }


def _serving(document: Mapping[str, Any], points: Sequence[Point]) -> dict[str, Any]:
    """What the page of inference has besides: seconds from token to token and to the first, and the frontier."""
    return {
        "latency": [_short(point["token_latency"]) for point in points],
        "prefill": [_short(point["prefill_latency"]) for point in points],
        "limit": document["max_token_latency"],
        "frontier": [_find(each, points) for each in document["frontier"]],
    }


def _axis(name: str, points: Sequence[Point]) -> dict[str, Any]:
    """Numbers in their order, then names in theirs, then nothing."""
    given = {point.get(name) for point in points}
    values = sorted(
        given, key=lambda v: (v is None, isinstance(v, str), RECOMPUTE.get(str(v), 0), v if v is not None else 0)
    )
    place = {value: k for k, value in enumerate(values)}
    return {
        "name": name,
        "values": ["-" if value is None else value for value in values],
        "column": [place[point.get(name)] for point in points],
    }


def _bytes(point: Point) -> float | None:
    found = point.get("peak_bytes")
    return point.get("least_bytes") if found is None else found


def _reason(point: Point) -> str:
    return point.get("reason") or ""


def _short(value: float | None) -> float | None:
    """What has no end is as good as not known: JSON knows no infinity."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.{DIGITS}g}")


def _find(strategy: Point, points: Sequence[Point]) -> int:
    """The point of a strategy of the table, -1 if there is none. A point may leave the schedule and chunks open."""
    found = -1
    for k, point in enumerate(points):
        if point["state"] != "solved" or any(
            point.get(name) is not None and point[name] != strategy.get(name) for name in DEGREES
        ):
            continue
        if point.get("seconds") == strategy.get("seconds"):
            return k
        found = k if found < 0 else found
    return found
