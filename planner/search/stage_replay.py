"""How long an order takes on stages, and what memory: as a replay of whole stages says, only faster.

A replay makes a problem of the stages, a network of all passes and transfers, and profiles of memory. Where each stage
reads the one before it, transfers are hidden and every pass takes time, its figures follow from the graph of the order:
the ends of passes, the memory held after each of them, and the step tasks in what idle time is left. Two transfers of
one channel that would overlap are left to the replay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.placement.kinds import Versions
from planner.runtimes.order_graph import PASSES, OrderGraph
from planner.runtimes.runtime import Runtime
from planner.runtimes.stage_costs import StageCosts
from planner.timetable.whole_step import ROUNDING, G, Job, R, U, in_gaps

Floats = npt.NDArray[np.float64]

SHORT = 1e-7
"""Part of the makespan: with shorter passes, what is held for how long takes a closer look."""


@dataclass(frozen=True)
class Quick:
    """What a ranking needs: the makespan, bytes that are lacking (where any device lacks some), the busiest device."""

    makespan: float
    fits: bool
    lacking: float
    busiest: int


@dataclass(frozen=True, eq=False)
class _Stages:
    """The stages on their devices: pass seconds (stages, 3), step seconds and which there are (stages, 3)."""

    device: npt.NDArray[np.int64]
    seconds: Floats
    step: Floats
    has: npt.NDArray[np.bool_]


class StageReplay:
    """The replays of one runtime on one problem."""

    def __init__(self, costs: StageCosts, runtime: Runtime) -> None:
        self.costs, self.runtime = costs, runtime
        self.links: dict[tuple[int, int, float], float] = {}

    def quick(
        self,
        graph: OrderGraph,
        device_of: Sequence[int],
        stages: Sequence[Sequence[int]],
        variant: Versions,
        first: Sequence[int],
    ) -> Quick | None:
        """The figures of an order; None where only a replay tells them."""
        sent = self.costs.sent
        if sent is None or not len(graph.kind):
            return None
        seconds, parameters, activation, held, step, has, _ = self.costs.sums(stages, variant, first)
        device = np.array(device_of, dtype=np.int64)
        rows = np.arange(len(stages))
        own = _Stages(device, seconds[rows, :, device], step[rows, :, device], has > 0)
        if not np.isfinite(own.seconds).all():
            return None
        lag = self._lag(device, [float(sent[stage[-1]]) for stage in stages])
        passes = np.concatenate([own.seconds, own.seconds[:, 1:].sum(axis=1, keepdims=True)], axis=1)
        end, _ = graph.played(passes.ravel(), lag)
        last = float(end.max())
        if passes[:, : 2 if self.costs.whole.training else 1].min() <= SHORT * last or _collide(
            graph, device, lag, end
        ):
            return None
        makespan = self._whole_step(graph, own, end, passes.ravel()) if own.has.any() else last
        whole = self.costs.whole
        held = np.where(own.seconds[:, 2] > 0, np.minimum(held, activation), 0.0)
        peaks = [0.0] * whole.n_devices
        for d in range(whole.n_devices):
            resident = math.fsum(parameters[device == d].tolist())
            vectors = graph.held[d] if d < len(graph.held) else np.zeros((0, len(stages), 2))
            most = max((vectors[:, :, 0] @ activation + vectors[:, :, 1] @ held).tolist(), default=0.0)
            peaks[d] = resident + most
        fits = all(peak <= cap for peak, cap in zip(peaks, whole.cap_with_slack.tolist(), strict=True))
        lacking = max(
            peak - cap if 0 < cap < math.inf else 0.0 for peak, cap in zip(peaks, whole.cap.tolist(), strict=True)
        )
        return Quick(makespan, fits, lacking, self._busiest(own))

    def _lag(self, device: npt.NDArray[np.int64], sent: Sequence[float]) -> Floats:
        """Seconds of the transfer of what each kind of pass reads."""
        found = np.zeros((len(device), PASSES))
        devices = device.tolist()
        for s in range(len(devices) - 1):
            a, b, size = devices[s], devices[s + 1], sent[s]
            found[s + 1, 0] = self._link(a, b, size)
            found[s, [1, 3]] = self._link(b, a, size)
        return found.ravel()

    def _link(self, a: int, b: int, size: float) -> float:
        if (a, b, size) not in self.links:
            names, cluster = self.costs.names, self.costs.whole.cluster
            self.links[a, b, size] = 0.0 if a == b else cluster.transfer_seconds(names[a], names[b], size)
        return self.links[a, b, size]

    def _busiest(self, own: _Stages) -> int:
        """The device that computes longest, the first of equal ones."""
        m, parts = self.costs.whole.microbatches, [[0.0] for _ in range(self.costs.whole.n_devices)]
        for d, seconds, update in zip(own.device.tolist(), own.seconds.tolist(), own.step[:, U].tolist(), strict=True):
            parts[d] += [*(m * x for x in seconds), update]
        return int(np.argmax([math.fsum(some) for some in parts]))

    # -- the end of the step, as ``with_step_tasks`` has it ----------------------------------------------

    def _whole_step(self, graph: OrderGraph, own: _Stages, end: Floats, seconds: Floats) -> float:
        count = len(own.device)
        runs = np.ones((count, PASSES), dtype=bool)
        runs[:, 0], runs[:, 2] = False, own.seconds[:, 2] > 0  # a stage may have no weight gradients
        backward = runs.ravel()[graph.kind]
        ready = np.zeros(count)
        np.maximum.at(ready, graph.kind[backward] // PASSES, end[backward])
        if not self.runtime.reduces_beside:
            for d in np.unique(own.device):
                ready[own.device == d] = ready[own.device == d].max()
        same, has = ROUNDING * float(end.max()), own.has
        update, gather = own.step[:, U], own.step[:, G]
        comm: dict[int, list[tuple[float, float]]] = {}
        compute = self._busy(graph, own, end, seconds, float(ready.min()))
        at = _placed(own, R, ready, [-(update + gather)], comm, same)
        after = np.where(has[:, R], at + own.step[:, R], ready)
        start = ready = after
        if self.costs.whole.graph.clip_gradients and has[:, R].any():
            start = np.maximum(after, after[has[:, R]].max())
        short = update <= gather
        at = _placed(own, U, start, [np.where(short, 0.0, 1.0), np.where(short, update, -gather)], compute, same)
        after = np.where(has[:, U], at + update, after)
        at = _placed(own, G, after, [], comm, same)
        after = np.where(has[:, G], at + gather, after)
        return max(float(end.max()), float(after[has.any(axis=1)].max()))

    def _busy(
        self, graph: OrderGraph, own: _Stages, end: Floats, seconds: Floats, since: float
    ) -> dict[int, list[tuple[float, float]]]:
        """When the compute stream of each device is busy, after an instant."""
        late = np.flatnonzero(end >= since)
        found: dict[int, list[tuple[float, float]]] = {}
        device, over = own.device[graph.kind[late] // PASSES], end[late]
        begin = over - seconds[graph.kind[late]]
        for d, a, b in zip(device.tolist(), begin.tolist(), over.tolist(), strict=True):
            found.setdefault(d, []).append((a, b))
        return found


def _placed(
    own: _Stages,
    task: int,
    ready: Floats,
    ranks: Sequence[Floats],
    busy: dict[int, list[tuple[float, float]]],
    same: float,
) -> Floats:
    """Starts of one kind of step task, 0 where there is none."""
    starts = np.zeros(len(ready))
    for d in dict.fromkeys(own.device[own.has[:, task]].tolist()):
        those = [s for s in np.flatnonzero(own.device == d).tolist() if own.has[s, task]]
        seconds, earliest = own.step[those, task].tolist(), ready[those].tolist()
        jobs = [
            Job(r, (*(float(rank[s]) for rank in ranks), *(() if ranks else (r,)), s, 0), x)
            for s, x, r in zip(those, seconds, earliest, strict=True)
        ]
        here = busy.setdefault(d, [])
        gaps = _gaps(sorted(here), min(earliest), min(seconds) - same)
        for s, start, x in zip(those, in_gaps(gaps, jobs, same), seconds, strict=True):
            starts[s] = start
            here.append((start, start + x))
    return starts


def _gaps(busy: list[tuple[float, float]], since: float, shortest: float) -> list[tuple[float, float]]:
    """The intervals between what is busy, of at least some length, after an instant; the last is open."""
    found, low = [], 0.0
    for begin, over in [*busy, (math.inf, math.inf)]:
        if begin >= since and begin - low >= shortest:
            found.append((low, begin))
        low = max(low, over)
    return found


def _collide(graph: OrderGraph, device: npt.NDArray[np.int64], lag: Floats, end: Floats) -> bool:
    """Whether two transfers of one channel would overlap."""
    nodes = np.flatnonzero((graph.reads >= 0) & (lag[graph.kind] > 0))
    source, target = graph.kind[graph.reads[nodes]] // PASSES, graph.kind[nodes] // PASSES
    channel = device[source] * (int(device.max()) + 1) + device[target]
    begin = end[graph.reads[nodes]]
    over = begin + lag[graph.kind[nodes]]
    order = np.lexsort((begin, channel))
    follows = channel[order][1:] == channel[order][:-1]
    return bool((follows & (begin[order][1:] < over[order][:-1])).any())
