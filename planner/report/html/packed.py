"""Numbers of the page in few bytes: instants as differences of whole ticks, and all of the data deflated.

A schedule repeats itself: tasks follow each other without a gap, and have few lengths. Differences show that to the
compression; instants as decimals hide it. ``data.js`` reads what stands here.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.events.nodes import Floats, Ints

DIGITS = 10
"""Significant digits of the makespan in ticks: less than a pixel however far one zooms in."""

EXACT = 2.0**53
"""Whole numbers up to which JavaScript counts exactly."""


def packed(document: dict[str, Any]) -> str:
    """A document as text for a script element: letters and digits of base64, which no markup can hide in."""
    compact = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(compact.encode("ascii"), 9)).decode("ascii")


def ticks_per_second(makespan: float) -> float:
    """A power of ten: instants that are short decimals stay so."""
    return float(10.0 ** (DIGITS - 1 - math.floor(math.log10(makespan)))) if makespan > 0 else 1.0


def ticks(values: npt.ArrayLike, scale: float) -> Ints:
    """Instants in whole ticks; where the makespan is not that of the tasks, at most what scripts count exactly."""
    return np.rint(np.clip(np.asarray(values, dtype=np.float64) * scale, -EXACT, EXACT)).astype(np.int64)


def differences(values: Sequence[int] | Ints) -> list[int]:
    """Each number less the one before it; the first as it is."""
    made: list[int] = np.diff(np.asarray(values, dtype=np.int64), prepend=0).tolist()
    return made


def intervals(start: Floats, end: Floats, scale: float) -> dict[str, list[int]]:
    """Intervals that mostly follow each other: ``gap``, from the end of the one before, and ``length``; in ticks."""
    since, until = ticks(start, scale), ticks(end, scale)
    return {
        "gap": (since - np.concatenate([[0], until[:-1]])).tolist() if len(since) else [],
        "length": (until - since).tolist(),
    }
