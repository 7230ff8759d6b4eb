"""The grid on which all times of a problem fall, where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, reduce

import numpy as np
import numpy.typing as npt

from planner.problem.problem import Problem

ROUNDING = 1e-9
"""A bound this little (relatively) above a multiple of the step is that multiple: sums of floats are not exact."""

STEPS_AT_MOST = 1e6
"""If the longest time has more steps than this, there is no grid: such a step comes from rounding."""


@dataclass(frozen=True)
class Step:
    """The common step of all durations and transfers that a plan can meet, in any version; None where there is none.

    In a schedule in which nothing can start earlier every start is 0 or the end of something, so its makespan is
    a sum of durations, and some such schedule is optimal. Holds for every placement.
    """

    seconds: float | None

    @staticmethod
    def of(problem: Problem) -> Step:
        """The step of a problem, over all devices and all pairs of devices."""
        values: set[float] = set()
        for seconds in (problem.step_duration, *(version.duration for version in problem.choices)):
            values |= set(seconds[np.isfinite(seconds)].tolist())
        devices = problem.cluster.devices
        sizes = {float(problem.output[i]) for i, readers in enumerate(problem.consumers) if readers}
        if problem.copies > 1:
            sizes |= set(problem.gradient[problem.gradient > 0].tolist())
        levels = {problem.cluster.level(a.name, b.name) for a in devices for b in devices if a is not b}
        values |= {level.seconds(size) for level in levels if level is not None for size in sizes}
        step = common_step(np.array(sorted(values)))
        longest = max(values, default=0.0)
        return Step(None if step is None or longest / step > STEPS_AT_MOST else step)

    def round_up(self, bound: float) -> float:
        """The least possible makespan that is not below ``bound``."""
        if self.seconds is None or not math.isfinite(bound):
            return bound
        steps = bound / self.seconds
        nearest = round(steps)
        if abs(steps - nearest) <= ROUNDING * max(1.0, steps):
            return nearest * self.seconds
        return math.ceil(steps) * self.seconds


def common_step(values: npt.NDArray[np.float64]) -> float | None:
    """The greatest number of which all positive values are multiples, read as the decimals they print as.

    None where there is no positive value, or the step is so fine that it means nothing.
    """
    fractions = [_decimal(v) for v in set(values.tolist()) if v > 0]
    if not fractions:
        return None
    denominator = reduce(math.lcm, (f.denominator for f in fractions))
    if denominator > 10**15:
        return None
    step = reduce(math.gcd, (int(f * denominator) for f in fractions))
    return step / denominator


@lru_cache(maxsize=4096)
def _decimal(value: float) -> Fraction:
    """A value as the decimals that it prints as; every placement has the same few durations."""
    return Fraction(repr(float(value)))
