"""A case as rivals see it: tasks with their resources, predecessors and memory, all in whole numbers.

It is built from the tables of ``Problem`` and shares no code with planner's models.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left, insort
from dataclasses import asdict, dataclass, field

import numpy as np

from planner.problem import Placement, Problem, common_step
from planner.timetable.timetable import TimedTransfer, Timetable
from racing.cases import BOTH_WAYS, FREE, VSHAPE

FORWARD, INPUT_GRAD, WEIGHT_GRAD = range(3)


@dataclass
class Shop:
    """``options[t]``: the ways to run task t, each a resource (stream or channel) and a duration in ticks.

    ``waits``: pairs (before, after). ``holds``: device, size, the task whose start takes it, those whose ends release
    it. ``chains``: the same task of successive microbatches, which may be put in order. ``cap``: bytes for holds on a
    device. ``names[t]``: operator, pass, microbatch, receiving device or -1.
    """

    tick: float  # seconds
    options: list[list[tuple[int, int]]] = field(default_factory=list)
    waits: list[tuple[int, int]] = field(default_factory=list)
    holds: list[tuple[int, int, int, list[int]]] = field(default_factory=list)
    chains: list[list[int]] = field(default_factory=list)
    cap: dict[int, int] = field(default_factory=dict)
    names: list[tuple[int, int, int, int]] = field(default_factory=list)
    start: list[int] = field(default_factory=list)  # ticks: a greedy schedule
    way: list[int] = field(default_factory=list)  # the options that it takes

    def to_json(self) -> str:
        """For rivals, which do not import planner: that would cost them time."""
        return json.dumps(asdict(self))


def placement_of(kind: str, problem: Problem) -> Placement | None:
    """The placement that rivals are given, None if they choose the devices."""
    n, devices = problem.n_operators, problem.n_devices
    forth = list(range(n))
    if kind == FREE:
        return None
    if kind == BOTH_WAYS:
        return Placement((tuple(forth), tuple(reversed(forth))), kind)
    if kind == VSHAPE:
        return Placement((tuple(min(i, 2 * devices - 1 - i) for i in forth),), kind)
    return Placement((tuple(forth),), kind)


def build(problem: Problem, placement: Placement | None) -> Shop:
    """The tasks of a problem; without a placement each has an option for every device (free transfers, no memory)."""
    names = [d.name for d in problem.cluster.devices]
    hops = {problem.cluster.transfer_seconds(a, b, float(s)) for a in names for b in names for s in set(problem.output)}
    times = problem.duration[np.isfinite(problem.duration)]
    step = common_step(np.array(sorted({*times.tolist(), *hops})))
    if step is None:
        raise ValueError("durations have no common step")
    if problem.exclusive.any():
        raise ValueError("transfers must not occupy the devices at their ends")
    if placement is None and (any(hops) or problem.training or problem.microbatches > 1):
        raise ValueError("rivals choose the devices in job shops only")
    builder = _Builder(problem, Shop(step))
    for m, copy in enumerate(copies_of(problem, placement)):
        builder.add(m, None if placement is None else placement.device_of[copy], copy)
    shop = builder.shop
    shop.chains = list(builder.chains.values())
    if placement is not None and np.isfinite(problem.cap).any():
        for d in range(problem.n_devices):
            here = {i for copy in placement.device_of for i, e in enumerate(copy) if e == d}
            shop.cap[d] = math.floor(problem.cap[d] - sum(problem.parameters[i] for i in here))
    shop.start, shop.way = greedy(shop)
    return shop


def copies_of(problem: Problem, placement: Placement | None) -> tuple[int, ...]:
    """The copy of each microbatch: equally many for each copy."""
    copies = 1 if placement is None else placement.copies
    return tuple(m * copies // problem.microbatches for m in range(problem.microbatches))


class _Builder:
    """Adds microbatch after microbatch."""

    def __init__(self, problem: Problem, shop: Shop) -> None:
        self.problem, self.shop = problem, shop
        self.chains: dict[tuple[int, ...], list[int]] = {}
        self.channels: dict[tuple[int, int], int] = {}

    def add(self, m: int, where: tuple[int, ...] | None, copy: int) -> None:
        """The tasks, transfers and memory of one microbatch."""
        problem, shop = self.problem, self.shop
        of: dict[tuple[int, int], int] = {}
        for p in range(3):
            for i in range(problem.n_operators):
                if problem.has_pass[i, p]:
                    devices = range(problem.n_devices) if where is None else (where[i],)
                    ways = [
                        (2 * d + int(problem.on_comm[i]), self._ticks(problem.duration[i, p, d]))
                        for d in devices
                        if problem.runs_on[i, d]
                    ]
                    of[i, p] = self._task(copy, i, p, m, -1, ways)
        for i in range(problem.n_operators):
            for device in sorted({-1 if where is None else where[j] for j in problem.consumers[i]}):
                readers = [j for j in problem.consumers[i] if where is None or where[j] == device]
                self._connect(copy, m, i, -1 if where is None else where[i], device, readers, of)
            if problem.training:
                shop.waits.append((of[i, FORWARD], of[i, INPUT_GRAD]))
                if (i, WEIGHT_GRAD) in of:
                    shop.waits.append((of[i, INPUT_GRAD], of[i, WEIGHT_GRAD]))
                if where is not None:
                    self._hold(i, where[i], of)

    def _connect(
        self, copy: int, m: int, i: int, here: int, there: int, readers: list[int], of: dict[tuple[int, int], int]
    ) -> None:
        """Send the output to its readers on one device, and its gradient back."""
        gradient = INPUT_GRAD if self.problem.training else None
        for p, source, target in ((FORWARD, here, there), (gradient, there, here)):
            if p is None:
                continue
            before = [of[i, p]] if p == FORWARD else [of[j, p] for j in readers]
            after = [of[j, p] for j in readers] if p == FORWARD else [of[i, p]]
            ticks = 0 if here == there else self._ticks(self.problem.transfer(i, source, target))
            if ticks:
                channel = self.channels.setdefault((source, target), 2 * self.problem.n_devices + len(self.channels))
                sent = self._task(copy, i, p, m, target, [(channel, ticks)], source)
                self.shop.waits += [(t, sent) for t in before] + [(sent, t) for t in after]
            else:
                self.shop.waits += [(t, u) for t in before for u in after]

    def _hold(self, i: int, device: int, of: dict[tuple[int, int], int]) -> None:
        size, late = self.problem.activation[i], self.problem.held[i]
        for part, until in ((size - late, INPUT_GRAD), (late, WEIGHT_GRAD)):
            if part:
                if part != int(part):
                    raise ValueError("memory must be in whole bytes")
                self.shop.holds.append((device, int(part), of[i, FORWARD], [of[i, until]]))

    def _task(
        self, copy: int, i: int, p: int, m: int, target: int, ways: list[tuple[int, int]], source: int = -1
    ) -> int:
        self.shop.options.append(ways)
        self.shop.names.append((i, p, m, target))
        number = len(self.shop.options) - 1
        self.chains.setdefault((copy, i, p, source, target), []).append(number)
        return number

    def _ticks(self, seconds: float) -> int:
        ticks = round(seconds / self.shop.tick)
        if not math.isclose(ticks * self.shop.tick, seconds, rel_tol=1e-9):
            raise ValueError(f"{seconds} s is no multiple of {self.shop.tick} s")
        return ticks


def greedy(shop: Shop) -> tuple[list[int], list[int]]:
    """Starts and options of a greedy schedule.

    Microbatch by microbatch, each task goes to its first gap. If memory holds n microbatches, each waits for the end of
    the n-th before it.
    """
    before: list[list[int]] = [[] for _ in shop.options]
    for a, b in shop.waits:
        before[b].append(a)
    end, chosen = [0] * len(shop.options), [0] * len(shop.options)
    busy: dict[int, list[tuple[int, int]]] = {}
    of: dict[int, list[int]] = {}
    for t, (_, _, m, _) in enumerate(shop.names):
        of.setdefault(m, []).append(t)
    rooms = _together(shop)
    ended: list[int] = []
    for k, m in enumerate(_dealt(shop)):
        earliest = ended[k - rooms] if k >= rooms else 0
        left = {t: len(before[t]) for t in of[m]}
        after: dict[int, list[int]] = {}
        for t in of[m]:
            for u in before[t]:
                after.setdefault(u, []).append(t)
        ready = [t for t in of[m] if not left[t]]
        for t in ready:
            start = max([earliest, *(end[u] for u in before[t])])
            end[t], chosen[t] = min((_end(busy, way, start), k) for k, way in enumerate(shop.options[t]))
            resource, ticks = shop.options[t][chosen[t]]
            insort(busy.setdefault(resource, []), (end[t] - ticks, end[t]))
            for u in after.get(t, ()):
                left[u] -= 1
                if not left[u]:
                    ready.append(u)
        ended.append(max([end[t] for t in of[m]] + ended[-1:]))
    return [e - shop.options[t][chosen[t]][1] for t, e in enumerate(end)], chosen


def _end(busy: dict[int, list[tuple[int, int]]], way: tuple[int, int], start: int) -> int:
    """The end of a task in the first gap of a resource from ``start`` on."""
    resource, ticks = way
    spans = busy.get(resource, [])
    at = bisect_left(spans, (start, start))
    if at and spans[at - 1][1] > start:
        start = spans[at - 1][1]
    while at < len(spans) and spans[at][0] < start + ticks:
        start = spans[at][1]
        at += 1
    return start + ticks


def _dealt(shop: Shop) -> list[int]:
    """The microbatches, alternating between the copies."""
    runs = sorted({tuple(shop.names[t][2] for t in chain) for chain in shop.chains})
    return [run[k] for k in range(max(map(len, runs))) for run in runs if k < len(run)]


def _together(shop: Shop) -> int:
    """How many microbatches fit in memory at once, of any copies."""
    need: dict[tuple[int, int], int] = {}
    for device, size, taker, _ in shop.holds:
        key = device, shop.names[taker][2]
        need[key] = need.get(key, 0) + size
    fit = [shop.cap[device] // size for (device, _), size in need.items() if device in shop.cap and size]
    return max(1, min(fit, default=len(shop.names)))


def timetable(problem: Problem, placement: Placement | None, shop: Shop, start: list[int], way: list[int]) -> Timetable:
    """The timetable of a rival's schedule: ``start`` in ticks, ``way[t]`` the option that task t has taken."""
    if placement is None:
        device_of = [0] * problem.n_operators
        for t, (i, _, _, _) in enumerate(shop.names):
            device_of[i] = shop.options[t][way[t]][0] // 2
        placement = Placement((tuple(device_of),), FREE)
    copy_of = copies_of(problem, placement)
    table = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
    sent = []
    for t, (i, p, m, target) in enumerate(shop.names):
        seconds = start[t] * shop.tick
        if target < 0:
            table[i, p, m] = seconds
            continue
        consumer_devices = {placement.device_of[copy_of[m]][j] for j in problem.consumers[i]}
        here = placement.device_of[copy_of[m]][i]
        source = here if p == FORWARD else next(d for d in consumer_devices if d != target)
        ends = (start[t] + shop.options[t][way[t]][1]) * shop.tick
        sent.append(TimedTransfer(i, p, m, source, target, seconds, ends))
    return Timetable(placement, copy_of, table, tuple(sent))
