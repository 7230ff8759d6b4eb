"""Paths through an order as cuts of its linear program, added until they say no more (Benders' decomposition).

The program's own stages jump from corner to corner, and the longest paths of corners say little. So paths are looked
for between these stages and a centre, which follows the best stages seen (in-out separation: Ben-Ameur and Neto 2007,
doi 10.1002/net.20145), and of the program's own stages where those between add nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.highs import Growing, Model
from planner.runtimes.order_graph import PASSES, OrderGraph

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

ROUNDS = 120
"""Times that paths are added."""

AT_ONCE = 15
"""The same in one call."""

CLOSE = 1e-4
"""Relative length by which a path may exceed the program's value when no more are added."""

OUT = 0.2
"""How far from the centre towards the program's own stages paths are looked for."""

FOLLOW = 0.3
"""How far the centre moves towards better stages."""

TIGHT = 1e-3
"""Part of the step up to which a path that is shorter stays in the program for closer looks."""


@dataclass(frozen=True, eq=False)
class Places:
    """The columns that say how much of a kind is in a stage in a version.

    ``passes``: (columns, 4), seconds of F, I, W and whole backward; ``alike``: the columns of each kind and version.
    """

    column: Ints
    stage: Ints
    passes: Floats
    alike: Sequence[Sequence[int]]


class Paths:
    """The paths of one program. ``bound``: seconds that it proves with them; ``ended``: whether that is all."""

    def __init__(
        self,
        model: Model,
        graph: OrderGraph,
        places: Places,
        step: int,
        over: Sequence[int],
        lag: float,
        values: Floats,
    ) -> None:
        """``step``, ``over``: the columns of the step and of the end of each device's passes, in seconds.

        ``lag``: seconds of a transfer between stages; ``values``: a solution of the program.
        """
        self.model, self.graph, self.places = model, graph, places
        self.step, self.over, self.lag, self.values = step, over, lag, values
        self.first = len(model.row_lower)
        self.grown = Growing(model)
        self.centre = self._even(values)
        self.best = self._length(self.centre)
        self.bound, self.left, self.ended = 0.0, ROUNDS, False

    def more(self, control: Control, enough: float) -> float:
        """Add paths some times, until the bound is above ``enough``; the bound by then."""
        for _ in range(AT_ONCE):
            if self.bound > enough or control.over or self.ended:
                break
            self._round(control)
        return self.bound

    def leave_out(self) -> None:
        """Take those paths out of the program that say nothing about its last stages."""
        model, short = self.model, TIGHT * abs(float(self.values[self.step]))
        rows = range(self.first, len(model.row_lower))
        tight = [k for k in rows if model.activity(k, self.values) <= model.row_lower[k] + short]
        model.keep_rows(tight, self.first)

    def _round(self, control: Control) -> None:
        between = OUT * self.values + (1 - OUT) * self.centre
        if not self._cut(between) and not self._cut(self.values):
            self.ended = True
            return
        length = self._length(between)
        if length <= self.best:
            self.best, self.centre = length, (1 - FOLLOW) * self.centre + FOLLOW * between
        found = self.grown.solve(control)
        self.left -= 1
        if found.values is None or not self.left:
            self.ended = True
        if found.values is not None:
            self.bound, self.values = max(self.bound, found.bound), found.values

    def _even(self, values: Floats) -> Floats:
        """The same with every kind and version spread evenly over the stages that may have it."""
        found = values.copy()
        for some in self.places.alike:
            found[some] = values[some].mean()
        return found

    def _seconds(self, values: Floats) -> Floats:
        """Of each stage's passes (stages, 4)."""
        seconds = np.zeros((self.graph.stages, PASSES))
        np.add.at(seconds, self.places.stage, values[self.places.column, None] * self.places.passes)
        return seconds

    def _length(self, values: Floats) -> float:
        """Of the longest path."""
        return self.graph.length(self._seconds(values), self.lag)

    def _cut(self, stages: Floats) -> bool:
        """Add the longest path of ``stages`` to the last pass of each device, where the last solution is shorter."""
        places, added = self.places, False
        for d, (_, counts, sent) in enumerate(self.graph.longest(self._seconds(stages), self.lag)):
            over, least = self.over[d], sent * self.lag
            lengths = (counts[places.stage] * places.passes).sum(axis=1)
            if float(self.values[over]) * (1 + CLOSE) < least + float(lengths @ self.values[places.column]):
                added = True
                own = np.flatnonzero(lengths)
                self.model.row([over, *places.column[own].tolist()], [1.0, *(-lengths[own]).tolist()], least)
        return added
