"""A bound for all plans of one published order: linear programs over fractions of layers, with paths as cuts.

The order of a schedule is known, and what a runtime may still decide is where stages end and what is recomputed. So
the variables are how much of each kind of layer is in every stage, in which version: fractions, which only lowers the
bound. The rows: what a device computes, what it holds at once (the order says how many microbatches of each stage), and
paths through the order (``OrderGraph``). A path is a sum of pass times of stages, linear in the variables, and no run
of the order is shorter. Paths are added as cuts until the longest path for the program's own stages is no longer than
its value (Benders 1962, doi 10.1007/BF01386316), or the bound suffices; each value on the way is a bound, too.

A runtime can be told only some mixtures of versions. Each of them is a program of its own, and the least value counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush, heapreplace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from planner.baselines import SCHEDULES, NotApplicable
from planner.common.budget import Control
from planner.placement.kinds import Versions
from planner.problem import BASE, Problem
from planner.runtimes.cuts import counted_layer_of
from planner.runtimes.kinds import Kinds, whole_layers
from planner.runtimes.order_graph import OrderGraph, order_graph
from planner.runtimes.order_program import LEVELS, OrderProgram, Setting, Solution
from planner.runtimes.runtime import Recomputing, Runtime
from planner.runtimes.stage_costs import StageCosts

CLOSER_AT_MOST = 100
"""Closer bounds that are worked out of all programs together."""

Ints = npt.NDArray[np.int64]

Order = tuple[str, int]
"""A schedule and how many stages it has on a device."""

Mixture = tuple[str, ...]
"""The names of versions that layers may be in; of two, the second may be that of the first layers of every stage."""


@dataclass(frozen=True)
class _Part:
    """A program, or the part of it with some numbers of first layers, and how closely it has been looked at."""

    program: OrderProgram
    level: int = 0

    @property
    def may_be_parted(self) -> bool:
        """Whether to look at some numbers of first layers by themselves: at last, and then down to single ones."""
        setting = self.program.setting
        if setting.numbers is None:
            return setting.first_layers and self.level == LEVELS
        return setting.numbers[0] < setting.numbers[1]

    def limited(self, at_most: float) -> _Part:
        """Of plans that take no longer than a time, where that says anything."""
        setting = self.program.setting
        if not setting.first_layers or self.program.limited or math.isinf(at_most):
            return self
        return replace(self, program=OrderProgram(self.program.kinds, replace(setting, at_most=at_most)))

    def halves(self, at_most: float) -> Iterator[_Part]:
        """Its plans that take no longer than a time, by number of first layers."""
        kinds = self.program.kinds
        low, high = self.program.setting.numbers or (0, round(float(kinds.count[kinds.layer].sum())))
        middle = (low + high) // 2
        for numbers in ((low, middle), (middle + 1, high)):
            yield _Part(OrderProgram(kinds, replace(self.program.setting, at_most=at_most, numbers=numbers)))


class OrderBounds:
    """The bounds of all orders of a runtime on one problem."""

    def __init__(
        self,
        problem: Problem,
        runtime: Runtime,
        costs: StageCosts,
        choices: Mapping[str, Versions],
        times: Sequence[int] | None = None,
    ) -> None:
        """``problem``: cut as the runtime cuts it; ``choices``: the versions that a layer may be in, by name.

        ``times``: how many operators each one stands for, in a problem of few layers; None: itself. Of such a problem
        only ``of_any`` is a bound.
        """
        self.times = None if times is None else np.array(times)
        self.problem, self.runtime, self.costs, self.choices = problem, runtime, costs, choices
        self.known: dict[tuple[bool, Mixture], Kinds] = {}
        self.programs: dict[tuple[str, int, Mixture], OrderProgram] = {}
        self.settings: dict[tuple[str, int], Setting | None] = {}

    @cached_property
    def layer_names(self) -> dict[int, str | None]:
        """The layer of each operator, of those that the runtime counts."""
        origin = self.problem.graph.made_from
        rules = None if origin is None else origin.rules
        return {i: counted_layer_of(operator.name, rules) for i, operator in enumerate(self.problem.operators)}

    @cached_property
    def mixtures(self) -> tuple[Mixture, ...]:
        """The versions that may be in one plan; those of a mixture of two are in no other.

        All layers of a mixture may be in one of its versions, so these are left out by themselves.
        """
        names, recompute = tuple(self.choices), self.runtime.recompute
        if recompute in (Recomputing.STAGE, Recomputing.OPERATOR):
            return (names,)
        some = [name for name in names if name != BASE and self.runtime.may_mix(name)]
        if recompute is Recomputing.UNIFORM or BASE not in self.choices or not some:
            return tuple((name,) for name in names)
        return *((name,) for name in names if name not in (BASE, *some)), *((BASE, name) for name in some)

    @cached_property
    def loose(self) -> StageCosts:
        """The costs of the least units: where a device has several stages, a label's operators may stand apart."""
        segments = self.problem.segments
        if not segments.spread:
            return self.costs
        return StageCosts(self.costs.whole, self.runtime, segments.loose)

    @cached_property
    def _parts_differ(self) -> bool:
        """Whether a unit may be in two versions at once: a label joins several layers, told apart in one stage."""
        several = any(len({self.layer_names[i] for i in unit} - {None}) > 1 for unit in self.costs.units)
        return several and self.runtime.recompute in (Recomputing.FIRST_LAYERS, Recomputing.OPERATOR)

    def times_of(self, costs: StageCosts) -> Ints:
        """How many units each of them stands for. Raises ``ValueError`` where that of its operators differs."""
        if self.times is None:
            return np.ones(len(costs.units), dtype=np.int64)
        found = np.array([self.times[unit[0]] for unit in costs.units])
        if (self.times != found[costs.unit_of]).any():
            raise ValueError("a unit has operators that stand for different numbers of others")
        return found

    def _kinds(self, apart: bool, mixture: Mixture) -> tuple[Kinds, bool]:
        """The kinds of units, and whether those that are counted as layers are layers."""
        costs = self.loose if apart else self.costs
        layer = whole_layers(self.layer_names, costs.units)
        if (apart, mixture) not in self.known:
            choices = [self.choices[name] for name in mixture]
            own = layer or [False] * len(costs.units)
            self.known[apart, mixture] = Kinds.of(self.problem, costs, choices, own, self.times_of(costs))
        return self.known[apart, mixture], layer is not None

    def chained(self, costs: StageCosts) -> bool:
        """Whether every unit reads the one before it, so that a stage waits for the one before it."""
        unit_of = costs.unit_of
        reads = {(int(unit_of[i]), int(unit_of[j])) for i, inputs in enumerate(self.problem.inputs) for j in inputs}
        return all((u, u - 1) in reads for u in range(1, len(costs.units)))

    def lag(self, costs: StageCosts) -> float:
        """The least seconds of a transfer from one stage to the next, wherever the cut is.

        What the unit after a cut reads from the one before it goes from one device to the other.
        """
        unit_of = costs.unit_of
        crossing = [0.0] * (len(costs.units) - 1)
        for i, readers in enumerate(self.problem.consumers):
            u = int(unit_of[i])
            if any(int(unit_of[j]) == u + 1 for j in readers):
                crossing[u] += float(self.problem.output[i])
        size, cluster = min(crossing, default=0.0), self.problem.cluster
        names = [device.name for device in cluster.devices]
        return min((cluster.transfer_seconds(a, b, size) for a in names for b in names if a != b), default=0.0)

    def quick(self, name: str, chunks: int, control: Control) -> float:
        """As ``of``, of fractions of layers without paths."""
        found = self._setting(name, chunks)
        if found is None:
            return 0.0
        return min(self._program(name, chunks, mixture).relaxed(control) for mixture in self.mixtures)

    def graph(self, name: str, chunks: int) -> OrderGraph | None:
        """The graph of an order; None where there is none of its kind. Raises as ``of`` does."""
        found = self._setting(name, chunks)
        return None if found is None else found.graph

    def of(self, name: str, chunks: int, control: Control, enough: float = math.inf) -> float:
        """As ``least``, of one order. Raises ``NotApplicable`` where it does not exist."""
        self._setting(name, chunks)
        return self.least([(name, chunks)], control, enough)

    def least(self, orders: Sequence[Order], control: Control, enough: float = math.inf) -> float:
        """Seconds that no plan of any order beats; inf where none fits in memory; 0 where nothing is known.

        ``enough``: nothing is looked at closer whose bound is not below it, and plans that take longer may be left
        aside: then the value is no larger. Only the program of the least value is worth a closer look; one of first
        layers is first parted by their number.
        """
        parts: list[tuple[float, int, _Part]] = []
        for name, chunks in orders:
            try:
                found = self._setting(name, chunks)
            except NotApplicable:
                continue
            if found is None:
                return 0.0
            for mixture in self.mixtures:
                program = self._program(name, chunks, mixture)
                heappush(parts, (program.relaxed(control), len(parts), _Part(program)))
        number, left = len(parts), CLOSER_AT_MOST
        while parts:
            value, _, part = parts[0]
            if value >= enough or math.isinf(value) or control.over or not left:
                return value
            if math.isfinite(enough) and part.may_be_parted:
                heappop(parts)
                for half in part.halves(enough):
                    heappush(parts, (max(value, min(enough, half.program.relaxed(control))), number, half))
                    number += 1
                continue
            if part.level == LEVELS:
                return value
            part = part.limited(enough)
            part.program.relaxed(control)
            closer, ended = part.program.closer(control, enough, part.level + 1)
            known = min(closer, enough) if part.program.limited else closer
            heapreplace(parts, (max(value, known), number, replace(part, level=part.level + ended)))
            left -= ended
            number += 1
        return math.inf

    def of_any(self, setting: Setting, control: Control, enough: float) -> float:
        """The bound of a setting whose stages are not told apart: ``planner.runtimes.rank_bound`` makes it."""
        programs = [OrderProgram(self._kinds(True, mixture)[0], setting) for mixture in self.mixtures]
        values = [program.relaxed(control) for program in programs]
        done: set[int] = set()
        while True:
            k = min(range(len(programs)), key=values.__getitem__)
            if k in done or values[k] >= enough or math.isinf(values[k]) or control.over:
                return values[k]
            done.add(k)
            values[k] = max(values[k], programs[k].of_whole_layers(control))

    def _program(self, name: str, chunks: int, mixture: Mixture) -> OrderProgram:
        key = name, chunks, mixture
        if key not in self.programs:
            found = self._setting(name, chunks)
            assert found is not None
            apart = self._parts_differ or len(set(found.device_of)) < len(found.device_of)
            kinds, known = self._kinds(apart, mixture)
            first = len(mixture) == 2 and self.runtime.recompute is Recomputing.FIRST_LAYERS and known
            self.programs[key] = OrderProgram(kinds, replace(found, first_layers=first))
        return self.programs[key]

    def solutions(self, name: str, chunks: int, control: Control, below: float) -> Iterator[tuple[Mixture, Solution]]:
        """Stages that the program of each mixture finds best, where its value is below a makespan, the least first.

        Also each version by itself; of a mixture of many names, base and each other one. Raises as ``of`` does.
        """
        found = self._setting(name, chunks)
        if found is None or self.problem.segments.spread:
            return
        pairs: tuple[Mixture, ...] = tuple(mixture for mixture in self.mixtures if len(mixture) == 2)
        if self.runtime.recompute in (Recomputing.STAGE, Recomputing.OPERATOR) and BASE in self.choices:
            pairs = tuple((BASE, each) for each in self.choices if each != BASE)
        mixtures = (*((each,) for each in self.choices), *pairs)
        programs = [(mixture, self._program(name, chunks, mixture)) for mixture in mixtures]
        values = {mixture: program.relaxed(control) for mixture, program in programs}
        for mixture, program in sorted(programs, key=lambda entry: values[entry[0]]):
            if values[mixture] >= below or control.over:
                return
            solution = program.solution(control)
            if solution is not None:
                yield mixture, solution

    def _setting(self, name: str, chunks: int) -> Setting | None:
        """What is known of an order, and whether its stages wait for one another; None where it has two copies."""
        if (name, chunks) not in self.settings:
            self.settings[name, chunks] = self._made(name, chunks)
        return self.settings[name, chunks]

    def _made(self, name: str, chunks: int) -> Setting | None:
        schedule, ranks = SCHEDULES[name], self.problem.n_devices if self.runtime.pipeline else 1
        if schedule.family == "bidirectional":
            return None
        rows = schedule.rows(ranks, self.problem.microbatches, chunks)
        if not self.problem.training:
            rows = [row.forwards() for row in rows]
        device_of = list(schedule.layout(ranks, chunks)[0])
        graph = order_graph(rows, ranks * chunks, device_of, self.problem.microbatches)
        costs = self.loose if chunks > 1 else self.costs
        chained = self.chained(costs)
        lag = self.lag(costs) if chained else 0.0
        sending = [0.0] * self.problem.n_devices
        if self.runtime.exposes_transfers(chunks):
            ways = 2 if self.problem.training else 1
            for a, b in pairwise(device_of):
                for d in (a, b) if a != b else ():
                    sending[d] += ways * lag * self.problem.microbatches
        return Setting(self.problem, self.runtime.reduces_beside, device_of, graph, lag, sending, chained, False)
