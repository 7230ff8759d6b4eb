"""Paths through an order as cuts of its linear program, added until they say no more (Benders' decomposition).

The program's own stages jump from corner to corner, and the longest paths of corners say little. So paths are looked
for between these stages and a centre, which follows the best stages seen (in-out separation: Ben-Ameur and Neto 2007,
doi 10.1002/net.20145), and of the program's own stages where those between add nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.highs import Growing
from planner.runtimes.order_graph import PASSES, OrderGraph

if TYPE_CHECKING:
    from planner.runtimes.order_program import OrderProgram

Floats = npt.NDArray[np.float64]

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


class Paths:
    """The paths of one program. ``bound``: seconds that it proves with them; ``ended``: whether that is all."""

    def __init__(self, program: OrderProgram, graph: OrderGraph, values: Floats) -> None:
        """``values``: a solution of the program."""
        self.program, self.graph, self.values = program, graph, values
        self.first = len(program.model.row_lower)
        self.grown = Growing(program.model)
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
        model, short = self.program.model, TIGHT * abs(float(self.values[self.program.step]))
        rows = range(self.first, len(model.row_lower))
        model.keep_rows([k for k in rows if model.activity(k, self.values) <= model.row_lower[k] + short], self.first)

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
        columns: dict[tuple[int, int], list[int]] = {}
        for (_, k, v), column in self.program.column.items():
            columns.setdefault((k, v), []).append(column)
        for some in columns.values():
            found[some] = values[some].mean()
        return found

    def _seconds(self, values: Floats) -> Floats:
        """Of each stage's passes (stages, 4)."""
        columns, stages, passes = self.program.by_place
        seconds = np.zeros((self.graph.stages, PASSES))
        np.add.at(seconds, stages, values[columns, None] * passes)
        return seconds

    def _length(self, values: Floats) -> float:
        """Of the longest path."""
        return self.graph.length(self._seconds(values), self.program.setting.lag)

    def _cut(self, stages: Floats) -> bool:
        """Add the longest path of ``stages`` to the last pass of each device, where the last solution is shorter."""
        program, lag = self.program, self.program.setting.lag
        columns, stage_of, passes = program.by_place
        added = False
        for d, (_, counts, sent) in enumerate(self.graph.longest(self._seconds(stages), lag)):
            over = program.over[d]
            lengths = (counts[stage_of] * passes).sum(axis=1)
            if float(self.values[over]) * (1 + CLOSE) < sent * lag + float(lengths @ self.values[columns]):
                added = True
                own = np.flatnonzero(lengths)
                program.model.row([over, *columns[own].tolist()], [1.0, *(-lengths[own]).tolist()], sent * lag)
        return added
