"""A bound for all plans of one published order: a linear program over fractions of layers, with paths as cuts.

The order of a schedule is known, and what a runtime may still decide is where stages end and what is recomputed. So
the variables are how much of each kind of layer is in every stage, in which version: fractions, which only lowers the
bound. The rows: what a device computes, what it holds at once (the order says how many microbatches of each stage), and
paths through the order (``OrderGraph``). A path is a sum of pass times of stages, linear in the variables, and no run
of the order is shorter. Paths are added as cuts until the longest path for the program's own stages is no longer than
its value (Benders 1962, doi 10.1007/BF01386316), or the bound suffices; each value on the way is a bound, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from planner.baselines import SCHEDULES
from planner.common.budget import Control
from planner.common.highs import Model, Outcome
from planner.placement.versions import Versions
from planner.problem import Problem
from planner.runtimes.order_graph import PASSES, OrderGraph, order_graph
from planner.runtimes.runtime import Runtime
from planner.runtimes.stage_costs import StageCosts

Floats = npt.NDArray[np.float64]

ROUNDS = 12
"""Times that paths are added."""

CLOSE = 1e-3
"""Relative length by which a path may exceed the program's value when no more are added."""

GAP = 1e-3
"""Relative gap at which the integer program is done."""

NODES = 200
"""Of its tree."""

FEW_STAGES = 8
"""Stages up to which whole layers and paths are looked at together."""

INFEASIBLE = math.inf


@dataclass(frozen=True, eq=False)
class Kinds:
    """Units that cost the same, with their number: costs by version, kind (and pass, and device).

    ``seconds``: (versions, kinds, 3, devices), inf where it cannot run; ``parameters``, ``activation``, ``held``:
    (versions, kinds); ``step``: (kinds, 3, devices). ``first``, ``last``: the kinds of the first and the last unit.
    """

    count: Floats
    seconds: Floats
    parameters: Floats
    activation: Floats
    held: Floats
    step: Floats
    comm: Floats  # (kinds, devices): seconds of the comm stream in all passes of a microbatch, at least
    first: int
    last: int

    @staticmethod
    def of(costs: StageCosts, choices: Mapping[str, Versions]) -> Kinds:
        """The kinds of the units of a problem."""
        tables = [costs.of(versions) for versions in choices.values()]
        seconds, parameters, activation, held = (np.array([table[k] for table in tables]) for k in range(4))
        units = parameters.shape[1]
        ends = np.zeros((units, 2))
        ends[0, 0] = ends[-1, 1] = 1
        every = (seconds, parameters, activation, held)
        flat = [np.moveaxis(table, 1, 0).reshape(units, -1) for table in every]
        rows = np.concatenate([*flat, costs.step.reshape(units, -1), costs.comm, ends], axis=1)
        _, at, kind_of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        kind_of = kind_of.ravel()
        return Kinds(
            np.bincount(kind_of).astype(float),
            seconds[:, at],
            parameters[:, at],
            activation[:, at],
            held[:, at],
            costs.step[at],
            costs.comm[at],
            int(kind_of[0]),
            int(kind_of[-1]),
        )


class OrderBounds:
    """The bounds of all orders of a runtime on one problem."""

    def __init__(self, problem: Problem, runtime: Runtime, costs: StageCosts, choices: Mapping[str, Versions]) -> None:
        """``problem``: cut as the runtime cuts it; ``choices``: the versions that a layer may be in, by name."""
        self.problem, self.runtime, self.costs = problem, runtime, costs
        self.kinds = Kinds.of(costs, choices)

    @cached_property
    def chained(self) -> bool:
        """Whether every unit reads the one before it, so that a stage waits for the one before it."""
        unit_of = self.costs.unit_of
        reads = {(int(unit_of[i]), int(unit_of[j])) for i, inputs in enumerate(self.problem.inputs) for j in inputs}
        return all((u, u - 1) in reads for u in range(1, len(self.costs.units)))

    @cached_property
    def lag(self) -> float:
        """The least seconds of a transfer from one stage to the next, wherever the cut is."""
        units = self.costs.unit_of
        crossing = np.zeros(max(1, len(self.costs.units) - 1))
        for i, readers in enumerate(self.problem.consumers):
            far = max((int(units[j]) for j in readers), default=-1)
            crossing[int(units[i]) : max(far, int(units[i]))] += float(self.problem.output[i])
        size, cluster = float(crossing.min()), self.problem.cluster
        names = [device.name for device in cluster.devices]
        return min((cluster.transfer_seconds(a, b, size) for a in names for b in names if a != b), default=0.0)

    def of(self, name: str, chunks: int, control: Control, enough: float = math.inf, rounds: int = ROUNDS) -> float:
        """Seconds that no plan of the order beats; inf where none fits in memory; 0 where nothing is known.

        ``enough``: above it, no further paths are looked for. Raises ``NotApplicable`` where the order does not exist.
        """
        program = self._program(name, chunks)
        return 0.0 if program is None else program.solve(control, enough, rounds if self.chained else 0)

    def _program(self, name: str, chunks: int) -> _Program | None:
        schedule, ranks = SCHEDULES[name], self.problem.n_devices if self.runtime.pipeline else 1
        if schedule.fused or schedule.family == "bidirectional":
            return None
        rows = schedule.rows(ranks, self.problem.microbatches, chunks)
        if not self.problem.training:
            rows = [row.forwards() for row in rows]
        device_of = list(schedule.layout(ranks, chunks)[0])
        graph = order_graph(rows, ranks * chunks, device_of, self.problem.microbatches)
        return None if graph is None else _Program(self, graph, device_of)


class _Program:
    """The linear program of one order."""

    def __init__(self, bounds: OrderBounds, graph: OrderGraph, device_of: Sequence[int]) -> None:
        self.kinds, self.graph, self.device_of = bounds.kinds, graph, device_of
        self.problem, self.runtime, self.lag = bounds.problem, bounds.runtime, bounds.lag
        kinds, problem = self.kinds, bounds.problem
        self.model = Model()
        self.end = self.model.variable()  # of the passes
        self.step = self.model.variable(cost=1.0)  # of the step
        last_stage = len(device_of) - 1
        at = [
            (s, k, v) for s in range(len(device_of)) for k in range(len(kinds.count)) for v in range(len(kinds.seconds))
        ]
        self.places = [
            (s, k, v)
            for s, k, v in at
            if np.isfinite(kinds.seconds[v, k, 0, device_of[s]])
            and (k != kinds.first or s == 0)
            and (k != kinds.last or s == last_stage)
        ]
        self.column = {place: self.model.variable() for place in self.places}
        self._rows(problem)
        self.whole: list[int] = []  # columns that are whole numbers
        self._whole_layers()

    def _rows(self, problem: Problem) -> None:
        kinds, model = self.kinds, self.model
        by_kind: dict[int, list[int]] = {k: [] for k in range(len(kinds.count))}
        by_device: dict[int, list[tuple[int, int, int]]] = {d: [] for d in range(problem.n_devices)}
        for place in self.places:
            by_kind[place[1]].append(self.column[place])
            by_device[self.device_of[place[0]]].append(place)
        for k, columns in by_kind.items():
            model.row(columns, [1.0] * len(columns), kinds.count[k], kinds.count[k])
        model.row([self.step, self.end], [1.0, -1.0], 0.0)
        m, late = problem.microbatches, problem.graph.clip_gradients and problem.ends_with_step_tasks
        for d, places in by_device.items():
            columns = [self.column[place] for place in places]
            load = [m * float(kinds.seconds[v, k, :, d].sum()) for _, k, v in places]
            reduced, updated, gathered = ([float(kinds.step[k, t, d]) for _, k, _ in places] for t in range(3))
            before = [0.0] * len(places) if self.runtime.reduces_beside else reduced
            model.row([self.end, *columns], [1.0, *(-x for x in load)], 0.0)
            after = self.end if late else None  # no update before all passes have ended
            self._ends(after, columns, updated if late else np.add(load, np.add(before, updated)))
            if late:
                self._ends(after, columns, gathered)
                self._ends(None, columns, np.add(load, np.add(before, updated)))
            comm = [m * float(kinds.comm[k, d]) for _, k, _ in places]
            self._ends(None, columns, np.add(comm, np.add(reduced, gathered)))
            self._memory(d, places)

    def _whole_layers(self) -> None:
        """A device has whole layers, each in one version."""
        by_device: dict[tuple[int, int, int], list[int]] = {}
        for s, k, v in self.places:
            by_device.setdefault((self.device_of[s], k, v), []).append(self.column[s, k, v])
        for (_, k, _), columns in by_device.items():
            if self.kinds.count[k] > 1:
                number = self.model.variable()
                self.whole.append(number)
                self.model.row([number, *columns], [1.0, *(-1.0 for _ in columns)], 0.0, 0.0)

    def _ends(self, after: int | None, columns: Sequence[int], seconds: Sequence[float] | Floats) -> None:
        """The step ends so many seconds after ``after`` (None: its start)."""
        values = [-float(x) for x in seconds]
        if any(values):
            start = ([], []) if after is None else ([after], [-1.0])
            self.model.row([self.step, *start[0], *columns], [1.0, *start[1], *values], 0.0)

    def _memory(self, d: int, places: Sequence[tuple[int, int, int]]) -> None:
        kinds, cap = self.kinds, float(self.problem.cap_with_slack[d])
        if not math.isfinite(cap):
            return
        columns = [self.column[place] for place in places]
        held = self.graph.held[d].tolist() if d < len(self.graph.held) else []
        if not self.problem.training:  # a forward pass alone releases what it holds before it ends
            held = [np.zeros((self.graph.stages, 2)).tolist()]
        for vector in held:
            sizes = [
                float(kinds.parameters[v, k] + vector[s][0] * kinds.activation[v, k] + vector[s][1] * kinds.held[v, k])
                for s, k, v in places
            ]
            self.model.row(columns, [size / cap for size in sizes], upper=1.0)

    def solve(self, control: Control, enough: float, rounds: int) -> float:
        """The value of the program: of fractions of layers, of whole ones, then with paths as cuts.

        Paths and whole layers together take long on many stages, and gain little there.
        """
        first = self.model.solve(control, threads=1, certify=True)
        if first.infeasible:
            return INFEASIBLE
        bound = max(0.0, first.bound)
        if bound <= enough and not control.over:
            bound = max(bound, self._of_whole_layers(control).bound)
        if rounds and first.values is not None and bound <= enough:
            bound = max(bound, self._with_paths(control, enough, rounds, first.values))
            if bound <= enough and self.graph.stages <= FEW_STAGES and not control.over:
                bound = max(bound, self._of_whole_layers(control).bound)
        return bound

    def _of_whole_layers(self, control: Control) -> Outcome:
        for column in self.whole:
            self.model.integer[column] = True
        found = self.model.solve(control, threads=1, gap=GAP, nodes=NODES)
        for column in self.whole:
            self.model.integer[column] = False
        return found

    def _with_paths(self, control: Control, enough: float, rounds: int, values: Floats) -> float:
        bound = 0.0
        for _ in range(rounds):
            if bound > enough or control.over or not self._cut(values):
                break
            found = self.model.solve(control, threads=1)
            if found.values is None:
                break
            bound, values = max(bound, found.bound), found.values
        return bound

    def _cut(self, values: Floats) -> bool:
        """Add the longest paths for these stages; whether any is longer than the program says."""
        seconds = np.zeros((self.graph.stages, PASSES))
        for s, k, v in self.places:
            seconds[s] += values[self.column[s, k, v]] * self._passes(s, k, v)
        added, end = False, float(values[self.end])
        for length, counts, sent in self.graph.longest(seconds, self.lag):
            if length <= end * (1 + CLOSE):
                continue
            added = True
            columns, lengths = [self.end], [1.0]
            for s, k, v in self.places:
                total = float(counts[s] @ self._passes(s, k, v))
                if total:
                    columns.append(self.column[s, k, v])
                    lengths.append(-total)
            self.model.row(columns, lengths, sent * self.lag)
        return added

    def _passes(self, s: int, k: int, v: int) -> Floats:
        """Seconds of F, I, W and the whole backward."""
        seconds = self.kinds.seconds[v, k, :, self.device_of[s]]
        return np.array([*seconds, seconds[1] + seconds[2]])
