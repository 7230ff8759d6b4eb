"""Whole layers dealt out evenly over ranks: what a framework runs where it cannot run a plan's own placement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from planner.exporters.layers import Chunk, Layer
from planner.problem import Problem

POWER = 8
"""The sum of the 8th powers of the stages' times is least where the longest stage is short, and the others even."""

Floats = npt.NDArray[np.float64]


def balanced(
    problem: Problem, layers: Sequence[Layer], ranks: Sequence[str], virtual: int, *, fitting: bool
) -> list[Chunk] | None:
    """``virtual`` stages of consecutive layers a rank, stage k on rank k mod P, their times as even as can be.

    By a dynamic program over prefixes of the layers. ``fitting`` (with one stage a rank): only stages that fit in
    memory with the microbatches that 1F1B has in flight. ``problem``: without alternatives. None where there is no
    such division.
    """
    units = _units(layers)
    stages, count = len(ranks) * virtual, len(units)
    if stages > count:
        return None
    index = {device.name: d for d, device in enumerate(problem.cluster.devices)}
    devices = [index[ranks[k % len(ranks)]] for k in range(stages)]
    members = [[problem.graph.index[name] for layer in unit for name in layer.operators] for unit in units]
    seconds = np.array([problem.duration[own].sum(axis=(0, 1)) for own in members])  # [unit, device]
    longest = float(np.where(np.isfinite(seconds), seconds, 0.0).sum(axis=0).max(initial=0.0)) or 1.0
    parameters = _upto(np.array([problem.parameters[own].sum() for own in members]))
    activation = _upto(np.array([problem.activation[own].sum() for own in members]))
    least = np.full(count + 1, np.inf)
    least[0], cuts = 0.0, []
    for k, d in enumerate(devices):
        own = _upto(seconds[:, d] / longest)
        with np.errstate(invalid="ignore"):
            cost = (own[None, :] - own[:, None]) ** POWER
        allowed = np.triu(np.isfinite(cost), 1)
        if fitting:
            in_flight = min(problem.microbatches, stages - k)
            held = _between(parameters) + in_flight * _between(activation)
            allowed &= held <= problem.cap_with_slack[d]
        table = least[:, None] + np.where(allowed, cost, np.inf)
        cuts.append(table.argmin(axis=0))
        least = table.min(axis=0)
    if not np.isfinite(least[count]):
        return None
    ends = [count]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    return [
        Chunk(problem.cluster.devices[d].name, tuple(layer for unit in units[first:last] for layer in unit))
        for d, first, last in zip(devices, ends[:0:-1], ends[-2::-1], strict=True)
    ]


def _units(layers: Sequence[Layer]) -> list[tuple[Layer, ...]]:
    """What stays together: each layer by itself, all of multi-token prediction as one."""
    prediction = tuple(layer for layer in layers if layer.kind == "m")
    units: list[tuple[Layer, ...]] = []
    for layer in layers:
        if layer.kind != "m":
            units.append((layer,))
        elif layer is prediction[0]:
            units.append(prediction)
    return units


def _upto(values: Floats) -> Floats:
    """The sums of the first 0, 1, ... values."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _between(sums: Floats) -> Floats:
    """``[i, j]``: the sum of the values from i up to, not with, j."""
    return sums[None, :] - sums[:, None]
