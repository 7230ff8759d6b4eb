"""Fits the parameters of a curve to measured times: Levenberg-Marquardt on the logarithm of the ratio.

Residuals are weighted so that their mean absolute value is least (iteratively reweighted least squares): a fit to the
median kernel, which outliers of a table do not move. Pure numpy, and deterministic.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from planner.costs.curves import Values

Curve = TypeVar("Curve")

STEPS = 60
FLOOR = 0.02
"""Residuals below it count alike: no measured time is truer than that."""


@dataclass(frozen=True)
class Errors:
    """Relative errors of a curve on kernels that it was not fitted to."""

    median: float
    p90: float
    kernels: int


def held_out(keys: Sequence[tuple[object, ...]]) -> NDArray[np.bool_]:
    """A fifth of the kernels, chosen by a checksum of their shapes: the same ones in every run."""
    return np.array([zlib.crc32(repr(key).encode()) % 5 == 0 for key in keys], dtype=np.bool_)


def errors(predicted: Values, measured: Values) -> Errors:
    """Median and 90th percentile of |predicted / measured - 1|."""
    off = np.abs(predicted / measured - 1)
    return Errors(float(np.median(off)), float(np.percentile(off, 90)), len(off))


def fitted(
    predict: Callable[[Mapping[str, float]], Values],
    measured: Values,
    start: Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]],
) -> Mapping[str, float]:
    """The parameters of ``start``, all above 0 and within ``bounds``, with the least mean |log(predicted / measured)|.

    ``predict`` gives the times in seconds for some parameters. The fit is over their logarithms.
    """
    names = list(start)
    low, high = (np.log([bounds[name][side] for name in names]) for side in (0, 1))
    place = np.clip(np.log([start[name] for name in names]), low, high)

    def residuals(at: Values) -> Values:
        off: Values = np.log(predict(dict(zip(names, np.exp(at).tolist(), strict=True))) / measured)
        return off

    off, damping = residuals(place), 1e-2
    for _ in range(STEPS):
        cost = float(np.abs(off).mean())
        weights = 1 / np.maximum(np.abs(off), FLOOR)
        slope = np.stack([_slope(residuals, place, off, i, high[i]) for i in range(len(names))], axis=1)
        normal, gradient = slope.T @ (weights[:, None] * slope), slope.T @ (weights * off)
        for _ in range(8):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-9 * len(off)), -gradient)
            tried = np.clip(place + np.clip(step, -0.7, 0.7), low, high)
            off_there = residuals(tried)
            if np.abs(off_there).mean() < cost:
                break
            damping *= 4
        else:
            break
        place, off, damping = tried, off_there, max(damping / 5, 1e-7)
        if cost - np.abs(off).mean() < 1e-6:
            break
    return dict(zip(names, np.exp(place).tolist(), strict=True))


def _slope(residuals: Callable[[Values], Values], place: Values, off: Values, index: int, high: float) -> Values:
    """The derivative of the residuals by one parameter, from a small step that stays in bounds."""
    step = 1e-4 if place[index] + 1e-4 <= high else -1e-4
    moved = place.copy()
    moved[index] += step
    return (residuals(moved) - off) / step
