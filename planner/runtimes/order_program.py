"""The linear program of one order: how much of each kind of layer is in every stage, in which version.

Rows say what a device computes, what it holds at once, what paths through the order take, and what comes after. An
operator's gradients are reduced after its last backward pass, which is in the last backward action of its stage. The
last action of a device is such a one of its ``final`` stage: so what follows the passes of that stage starts no earlier
than that action. Where weight gradients may come later, it may have started before, and only the rows of all passes
of a device hold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.common.budget import Control
from planner.common.highs import Model, Outcome
from planner.problem import Problem
from planner.runtimes.kinds import Kinds
from planner.runtimes.order_graph import OrderGraph
from planner.runtimes.order_paths import Paths, Places

Floats = npt.NDArray[np.float64]

GAP = 1e-3
"""Relative gap at which the integer program is done."""

TRY_GAP = 1e-2
"""The same, of stages that are only tried."""

NODES = 200
"""Of its tree."""

FEW_STAGES = 16
"""Stages up to which whole layers and paths are looked at together."""

LEVELS = 3
"""Of closer bounds."""

INFEASIBLE = math.inf

Place = tuple[int, int, int]
"""Stage, kind and version."""


@dataclass(frozen=True)
class Setting:
    """What the program of an order needs beside kinds and graph.

    ``graph``: None where actions are fused pairs; then only what devices compute counts. ``lag``: the least seconds of
    a transfer to the next stage. ``sending``: seconds that each device computes nothing because it sends or receives.
    ``chained``: whether every stage waits for the one before it. ``first_layers``: whether version 1 is that of as many
    first layers of every stage, version 0 that of the others.
    """

    problem: Problem
    reduces_beside: bool
    device_of: Sequence[int]
    graph: OrderGraph | None
    lag: float
    sending: Sequence[float]
    chained: bool
    first_layers: bool
    at_most: float = math.inf  # seconds: plans that take longer are left aside
    last: tuple[int, ...] = ()  # the stages that may have the last unit of all; empty: the last stage
    before: Sequence[float] = ()  # seconds of other devices before the first pass of each, at least; none where empty
    after: Sequence[float] = ()  # the same after its last pass
    numbers: tuple[int, int] | None = None  # the least and the largest number of first layers


@dataclass(frozen=True)
class Solution:
    """Of each stage how many units it has, and how many of them are in another version than the first."""

    sizes: tuple[float, ...]
    changed: tuple[float, ...]

    def cuts(self) -> tuple[int, ...]:
        """Where whole stages begin and end that are as large as can be told, each of one unit at least."""
        places = [round(x) for x in np.cumsum([0.0, *self.sizes]).tolist()]
        for s in range(1, len(places)):
            places[s] = max(places[s], places[s - 1] + 1)
        places[-1] = round(sum(self.sizes))
        for s in reversed(range(len(places) - 1)):
            places[s] = min(places[s], places[s + 1] - 1)
        return tuple(places)


class OrderProgram:
    """The linear program of one order with some versions."""

    def __init__(self, kinds: Kinds, setting: Setting) -> None:
        self.kinds, self.setting, self.graph = kinds, setting, setting.graph
        self.problem, self.device_of = setting.problem, setting.device_of
        self.model = Model()
        self.first: Outcome | None = None
        self.paths: Paths | None = None
        self.step = self.model.variable(cost=1.0)
        devices = range(self.problem.n_devices)
        self.over = [self.model.variable() for _ in devices]  # when the passes of a device are over, at least
        stages = range(len(self.device_of))
        self.places: list[Place] = [
            (s, k, v)
            for s in stages
            for k in range(len(kinds.count))
            for v in range(len(kinds.seconds))
            if np.isfinite(kinds.seconds[v, k, 0, self.device_of[s]])
            and (k != kinds.first or s == 0)
            and (k != kinds.last or s in (setting.last or stages[-1:]))
        ]
        # at most as many as there are: without that HiGHS 1.15.1 may never return from its presolve of whole layers
        self.column = {place: self.model.variable(0.0, float(kinds.count[place[1]])) for place in self.places}
        self.on_device = [[place for place in self.places if self.device_of[place[0]] == d] for d in devices]
        self.in_stage = [[place for place in self.places if place[0] == s] for s in stages]
        self.whole: list[int] = []  # columns that are whole numbers
        self._layers()
        for d in devices:
            self._loads(d)
            self._memory(d)
        if self.problem.training:
            self._ends()
        if setting.first_layers:
            self._first_layers()

    # -- rows --------------------------------------------------------------------------------------------

    def _row(
        self, left: Sequence[tuple[int, float]], places: Sequence[Place], values: Sequence[float], more: float = 0.0
    ) -> None:
        """The sum of ``left`` is no less than that of the values x places, and ``more``."""
        columns = [self.column[place] for place in places]
        self.model.row(
            [*(c for c, _ in left), *columns], [*(x for _, x in left), *(-float(value) for value in values)], more
        )

    def _layers(self) -> None:
        """Every layer is somewhere, a stage has some, and a device has whole ones, each in one version."""
        for k, count in enumerate(self.kinds.count.tolist()):
            columns = [self.column[place] for place in self.places if place[1] == k]
            self.model.row(columns, [1.0] * len(columns), count, count)
        for places in self.in_stage:
            columns = [self.column[place] for place in places]
            self.model.row(columns, [1.0] * len(columns), 1.0)
        by_device: dict[Place, list[int]] = {}
        for s, k, v in self.places:
            by_device.setdefault((self.device_of[s], k, v), []).append(self.column[s, k, v])
        for (_, k, _), columns in by_device.items():
            if self.kinds.count[k] > 1:
                number = self.model.variable(0.0, float(self.kinds.count[k]))
                self.whole.append(number)
                self.model.row([number, *columns], [1.0, *(-1.0 for _ in columns)], 0.0, 0.0)

    def _loads(self, d: int) -> None:
        """The passes of a device, one after another; its comm stream; no update beside a pass."""
        kinds, places = self.kinds, self.on_device[d]
        load, (reduced, updated, gathered) = self._load(places), self._step_of(places)
        before, after = (times[d] if times else 0.0 for times in (self.setting.before, self.setting.after))
        self._row([(self.over[d], 1.0)], places, load, before)
        self.model.row([self.step, self.over[d]], [1.0, -1.0], after)
        comm = [self.problem.microbatches * float(kinds.comm[k, d]) for _, k, _ in places]
        self._row([(self.step, 1.0)], places, np.add(comm, np.add(reduced, gathered)).tolist())
        columns = [self.column[place] for place in places]
        work = [-x for x in np.add(load, updated).tolist()]
        self.model.row([self.step, *columns], [1.0, *work], self.setting.sending[d])

    def _load(self, places: Sequence[Place]) -> list[float]:
        m, seconds = self.problem.microbatches, self.kinds.seconds
        return [m * float(seconds[v, k, :, self.device_of[s]].sum()) for s, k, v in places]

    def _step_of(self, places: Sequence[Place]) -> tuple[list[float], list[float], list[float]]:
        """Seconds of R, U and G."""
        reduced, updated, gathered = (
            [float(self.kinds.step[k, task, self.device_of[s]]) for s, k, _ in places] for task in range(3)
        )
        return reduced, updated, gathered

    def _backward(self, places: Sequence[Place]) -> list[float]:
        return [float(self.kinds.seconds[v, k, 1:, self.device_of[s]].sum()) for s, k, v in places]

    def _memory(self, d: int) -> None:
        kinds, cap, places = self.kinds, float(self.problem.cap_with_slack[d]), self.on_device[d]
        if not math.isfinite(cap):
            return
        columns = [self.column[place] for place in places]
        held: Sequence[Sequence[Sequence[int]]] = [[[0, 0]] * len(self.device_of)]  # parameters alone
        if self.problem.training and self.graph is not None:  # inference releases before a pass ends
            held = self.graph.held[d].tolist() if d < len(self.graph.held) else []
        for vector in held:
            sizes = [
                float(
                    kinds.parameters[v, k] + vector[s][0] * kinds.activation[v, k, d] + vector[s][1] * kinds.held[v, k]
                )
                for s, k, v in places
            ]
            if cap > 0:
                self.model.row(columns, [size / cap for size in sizes], upper=1.0)

    def _ends(self) -> None:
        """What follows the passes: R, U and G."""
        beside, graph = self.setting.reduces_beside, self.graph
        for d, places in enumerate(self.on_device):
            over = [(self.step, 1.0), (self.over[d], -1.0)]
            if not beside:
                reduced, updated, gathered = self._step_of(places)
                self._row(over, places, np.add(reduced, gathered).tolist())
                self._row(over, places, updated)
            if graph is not None and not graph.split and d < len(graph.final):
                last = self.in_stage[graph.final[d]]
                reduced, updated, gathered = self._step_of(last)
                self._row(over, last, updated)
                self._row(over, last, (np.add(reduced, gathered) - self._backward(last)).tolist())
        if self.problem.graph.clip_gradients and self.problem.has_step[:, 0].any():
            self._clipped()

    def _clipped(self) -> None:
        """No update before every reduction has ended."""
        kinds, graph, beside = self.kinds, self.graph, self.setting.reduces_beside
        ended = self.model.variable()  # all reductions, at least
        split = graph is None or graph.split
        late = kinds.split if split else kinds.whole
        for d, places in enumerate(self.on_device):
            reduced, updated, _ = self._step_of(places)
            own = [float(late.rest[v, k, d]) for _, k, v in places]
            certain = [float(late.some[k]) for _, k, _ in places]
            load = np.array(self._load(places)) * certain
            after = np.array(reduced) if not beside else -np.array(own) * certain
            if graph is not None or not beside:
                self._row([(ended, 1.0)], places, (load + after).tolist())
            self._row([(ended, 1.0)], places, reduced)
            if late.some.all() and graph is not None and d < len(graph.final):
                over = [(ended, 1.0), (self.over[d], -1.0)]
                last = self.in_stage[graph.final[d]]
                if beside:
                    rest = [float(late.rest[v, k, d]) for _, k, v in last]
                    self._row(over, last, [-x for x in rest])
                    if not split:
                        reduced = self._step_of(last)[0]
                        self._row(over, last, np.subtract(reduced, self._backward(last)).tolist())
                else:
                    self._row(over, places, reduced)
            self._row([(self.step, 1.0), (ended, -1.0)], places, updated)
            gathered = [float(kinds.gathered[k, d]) for _, k, _ in places]
            self._row([(self.step, 1.0), (ended, -1.0)], places, gathered)

    def _first_layers(self) -> None:
        """Each stage has its first n layers in version 1, n the same everywhere, and the others in version 0."""
        kinds, model = self.kinds, self.model
        most = float(kinds.count[kinds.layer].sum())
        seconds = kinds.seconds[:, kinds.layer].sum(axis=2) * self.problem.microbatches
        least = float(seconds.min(initial=math.inf))  # no stage has more layers than a device runs in that time
        if least > 0 and math.isfinite(self.setting.at_most):
            most = min(most, float(math.floor(self.setting.at_most / least * (1 + 1e-6))))
        low, high = self.setting.numbers or (0, math.floor(most))
        number = model.variable(float(low), max(float(low), min(most, float(high))))  # above most: as all layers are
        self.whole.append(number)
        for places in self.in_stage:
            rest = model.variable(0.0, 1.0)  # whether some are in version 0
            self.whole.append(rest)
            own = {v: [self.column[p] for p in places if kinds.layer[p[1]] and p[2] == v] for v in (0, 1)}
            model.row([*own[1], number], [*(1.0 for _ in own[1]), -1.0], upper=0.0)
            model.row([*own[0], rest], [*(1.0 for _ in own[0]), -most], upper=0.0)
            model.row([*own[1], number, rest], [*(1.0 for _ in own[1]), -1.0, -most], -most)

    # -- solving -----------------------------------------------------------------------------------------

    @property
    def limited(self) -> bool:
        """Whether it is one of plans that take no longer than a given time: then it says nothing of longer ones."""
        return self.setting.first_layers and math.isfinite(self.setting.at_most)

    def relaxed(self, control: Control) -> float:
        """The value of fractions of layers, without paths."""
        if self.first is None:
            self.first = self.model.solve(control, threads=1, certify=True)
        return INFEASIBLE if self.first.infeasible else max(0.0, self.first.bound)

    def closer(self, control: Control, enough: float, level: int) -> tuple[float, bool]:
        """A better bound, 0 where there is none, and whether the level has ended.

        Of whole layers, then with paths as cuts, then of both, which takes long on many stages. Paths are added some at
        a time, so that the caller can turn to what has the least bound by then.
        """
        if level == 2:
            return self._with_paths(control, enough)
        if level == 1 or (self.paths is not None and len(self.device_of) <= FEW_STAGES):
            return self.of_whole_layers(control), True
        return 0.0, True

    def _with_paths(self, control: Control, enough: float) -> tuple[float, bool]:
        if self.graph is None or not self.setting.chained or self.first is None or self.first.values is None:
            return 0.0, True
        if self.paths is None:
            values, lag = self.first.values, self.setting.lag
            self.paths = Paths(self.model, self.graph, self._by_place(), self.step, self.over, lag, values)
        bound = self.paths.more(control, enough)
        if self.paths.ended:
            self.paths.leave_out()
        return bound, self.paths.ended

    def solution(self, control: Control) -> Solution | None:
        """Stages of whole layers that are worth a try; of fractions, where none are found soon."""
        if math.isinf(self.relaxed(control)) or control.over:
            return None
        columns = [self.column[s, k, v] for s, k, v in self.places if self.kinds.count[k] > 1]
        for column in (*columns, *self.whole):
            self.model.integer[column] = True
        found = self.model.solve(control, threads=1, gap=TRY_GAP, nodes=NODES)
        for column in (*columns, *self.whole):
            self.model.integer[column] = False
        values = found.values if found.values is not None or self.first is None else self.first.values
        if values is None:
            return None
        sizes, changed = np.zeros(len(self.device_of)), np.zeros(len(self.device_of))
        for s, k, v in self.places:
            sizes[s] += values[self.column[s, k, v]]
            changed[s] += values[self.column[s, k, v]] * (v > 0)
        return Solution(tuple(sizes.tolist()), tuple(changed.tolist()))

    def of_whole_layers(self, control: Control) -> float:
        """The proven bound of the integer program; that it is infeasible is solved twice."""
        for column in self.whole:
            self.model.integer[column] = True
        found = self.model.solve(control, threads=1, gap=GAP, nodes=NODES)
        if found.infeasible:
            found = self.model.solve(control, threads=1, gap=GAP, nodes=NODES, certify=True)
        for column in self.whole:
            self.model.integer[column] = False
        return found.bound

    def _by_place(self) -> Places:
        alike: dict[tuple[int, int], list[int]] = {}
        for (_, k, v), column in self.column.items():
            alike.setdefault((k, v), []).append(column)
        columns, stages = (np.array(some) for some in ([*self.column.values()], [s for s, _, _ in self.column]))
        return Places(columns, stages, np.array([self._passes(*place) for place in self.column]), [*alike.values()])

    def _passes(self, s: int, k: int, v: int) -> Floats:
        """Seconds of F, I, W and the whole backward."""
        seconds = self.kinds.seconds[v, k, :, self.device_of[s]]
        return np.array([*seconds, seconds[1] + seconds[2]])
