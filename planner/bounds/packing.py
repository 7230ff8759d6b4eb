"""A bound on the busiest device's load where operators cannot be divided: packings of a device as columns.

Large operators of nearly the same times count as one kind, each at the least time of its kind; small ones as a
fluid that fills what is left. For a load T a device can take a kind only so often: the maximal packings are
enumerated, and an integer program asks whether so many devices, each with one of them, can hold everything
(Gilmore and Gomory's formulation of cutting stock, 1961). The largest T for which they cannot is a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.bounds.problem import least_load
from planner.common.budget import Control
from planner.common.highs import Model
from planner.problem import Problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ALIKE = 0.03
"""Times within this of each other (relatively) are of one kind."""

SMALL = 0.08
"""Operators below this share of the even load are a fluid."""

KINDS_AT_MOST = 12
PACKINGS_AT_MOST = 2_000
NODES = 20
CERTAIN = 1e-3
PRECISION = 1e-4


def compute_period_bound(problem: Problem, low: float, high: float, control: Control) -> float:
    """Seconds a microbatch of the busiest compute stream, at least, with one copy; between ``low`` and ``high``."""
    work = np.where(problem.on_comm[:, None], 0.0, problem.duration.sum(axis=1))
    groups = np.array([work[list(members)].sum(axis=0) for members in problem.groups])
    return packing_bound(np.where(problem.group_runs_on, groups, np.inf), problem.device_classes, low, high, control)


def indivisible_bound(problem: Problem, control: Control) -> float:
    """Seconds that no plan with one copy beats: one device runs an operator for all microbatches; 0 with more."""
    if problem.copies > 1:
        return 0.0
    low = least_load(problem, control)
    return problem.microbatches * compute_period_bound(problem, low, 2.0 * low, control)


def packing_bound(work: Floats, classes: Sequence[Sequence[int]], low: float, high: float, control: Control) -> float:
    """Seconds that the busiest device needs at least: a known bound ``low``, raised to at most ``high``.

    ``work[g, d]``: seconds of group g on device d, inf where it cannot run; ``classes``: devices that are alike.
    """
    seconds = work[:, [members[0] for members in classes]]
    least = seconds.min(axis=1)
    large = np.isfinite(least) & (least > SMALL * low)
    fluid = float(least[np.isfinite(least) & ~large].sum())
    kinds, counts = _kinds(seconds[large])
    if not 0 < len(kinds) <= KINDS_AT_MOST:
        return low
    packing = _Packing(kinds, counts, fluid, np.array([len(members) for members in classes]))
    while high - low > PRECISION * high and not control.over:
        middle = (low + high) / 2
        if packing.impossible(middle, control):
            low = middle
        else:
            high = middle
    return low


def _kinds(seconds: Floats) -> tuple[Floats, Ints]:
    """Rows of times (one a class of devices) put together where they are nearly the same: least times, numbers."""
    kinds: list[list[int]] = []
    for g in np.lexsort(seconds.T[::-1]):
        for kind in kinds:
            first, row = seconds[kind[0]], seconds[g]
            same = np.isfinite(first) == np.isfinite(row)
            finite = np.isfinite(first) & same
            if same.all() and (np.abs(row[finite] - first[finite]) <= ALIKE * first[finite]).all():
                kind.append(int(g))
                break
        else:
            kinds.append([int(g)])
    least = [seconds[kind].min(axis=0) for kind in kinds]
    return np.array(least), np.array([len(kind) for kind in kinds], dtype=np.int64)


@dataclass(frozen=True)
class _Packing:
    """``kinds[k, c]``: seconds of kind k on devices of class c; ``fluid``: seconds of small operators, at least."""

    kinds: Floats
    counts: Ints
    fluid: float
    devices: Ints

    def impossible(self, load: float, control: Control) -> bool:
        """Whether it is proven that no packing keeps all devices within a load."""
        model, holds, left = Model(), [], []
        seen = 0
        for c, number in enumerate(self.devices):
            columns = []
            for packing, room in self._packings(c, load):
                seen += 1
                if seen > PACKINGS_AT_MOST or control.over:
                    return False
                if not self._is_worth_it(c, packing, room):
                    continue
                column = model.variable(0.0, float(number), 0.0, True)
                columns.append(column)
                holds.append((column, packing))
                left.append((column, room))
            model.row(columns, [1.0] * len(columns), upper=float(number))
        for k, count in enumerate(self.counts):
            homeless = model.variable(0.0, float(count), 1.0)
            columns = [column for column, packing in holds if packing[k]]
            values = [float(packing[k]) for _, packing in holds if packing[k]]
            model.row([*columns, homeless], [*values, 1.0], lower=float(count))
        spilt = model.variable(0.0, cost=1.0)
        model.row(
            [*(column for column, _ in left), spilt],
            [*(room / load for _, room in left), 1.0],
            lower=self.fluid / load * (1 - 1e-9),
        )
        outcome = model.solve(control, nodes=NODES, certify=True)
        return outcome.infeasible or outcome.bound > CERTAIN

    def _packings(self, c: int, load: float) -> Iterator[tuple[tuple[int, ...], float]]:
        """How often a device of class c can take each kind within a load, and the seconds that are left."""
        seconds = self.kinds[:, c]

        def extend(k: int, left: float) -> Iterator[tuple[tuple[int, ...], float]]:
            if k == len(seconds):
                yield (), left
                return
            most = int(min(self.counts[k], left / seconds[k])) if np.isfinite(seconds[k]) else 0
            for n in range(most, -1, -1):
                for rest, over in extend(k + 1, left - n * seconds[k] if n else left):
                    yield (n, *rest), over

        yield from extend(0, load * (1 + 1e-9))

    def _is_worth_it(self, c: int, packing: tuple[int, ...], left: float) -> bool:
        """Whether the packing is maximal; with a fluid to fill devices, all packings count."""
        return self.fluid > 0 or not (self.kinds[np.array(packing) < self.counts, c] <= left).any()
