"""Whole ticks, the unit of exact searches."""

from __future__ import annotations

import numpy as np

from planner.scheduling.classes import Floats, Ints

LONGEST = 2.0**52

NEVER = 2**62
"""An instant, or a makespan, where there is none."""


def in_ticks(seconds: Floats, tick: float) -> Ints:
    """Whole ticks, rounded down; what is a whole number of ticks but for rounding is that number.

    More than ``LONGEST`` count as so many: no schedule that is looked for is nearly as long.
    """
    return np.minimum(np.floor(seconds / tick * (1 + 1e-12) + 1e-9), LONGEST).astype(np.int64)
