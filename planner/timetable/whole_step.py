"""The end of a step, after a timetable of its microbatches: exchanged gradients, R, U and G.

Each starts as early as the idle time of its stream or channel allows, which includes the gaps between the tasks of
microbatches; these stay where they are. So any way to schedule microbatches gets whole steps from here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem
from planner.timetable.network import Floats, Ints
from planner.timetable.timetable import TimedExchange, Timetable

ROUNDING = 1e-12
"""Of the makespan: a gap that is shorter than a task by no more than this takes it."""

R, U, G = 0, 1, 2
COMPUTE, COMM = 0, 1

Bools = npt.NDArray[np.bool_]

Resource = int
"""Stream s of device d is 2d + s, the channel from d to e comes after all streams (see ``_Resources``)."""


class Job(NamedTuple):
    """Something to be placed in idle time. Of jobs that are ready, the least ``rank`` goes first."""

    ready: float
    rank: tuple[float, ...]
    seconds: float


class Exchange(NamedTuple):
    """The gradient of one copy of an operator, which another device with a copy needs."""

    operator: int
    copy: int
    source: int
    target: int
    seconds: float


def exchanges_of(problem: Problem, placement: Placement) -> list[Exchange]:
    """All exchanges of a placement, those without length too."""
    found: list[Exchange] = []
    for i in np.flatnonzero(problem.gradient > 0).tolist():
        homes = [device_of[i] for device_of in placement.device_of]
        for k, home in enumerate(homes):
            for away in sorted(set(homes) - {home}):
                found.append(Exchange(i, k, home, away, problem.gradient_transfer(i, home, away)))
    return found


def with_step_tasks(
    problem: Problem, timetable: Timetable, overlapped: bool = True, exposed: Bools | None = None
) -> Timetable:
    """The timetable with all exchanges and step tasks; itself where there are none.

    Exchanges come first, then R, U and G, each kind in what the others leave. Among those that wait for one stream or
    channel the one with the longest rest goes first, and of updates those whose order gives the shortest end where
    all of them are ready at once (Johnson's rule). Not ``overlapped``: they wait for all microbatches on their device.
    ``exposed``: the operators of the comm stream beside which no update runs.
    """
    exchanges = exchanges_of(problem, timetable.placement)
    if not exchanges and not problem.has_step.any():
        return timetable
    return _End(problem, timetable, exchanges, overlapped, exposed).placed()


class _End:
    """What is placed at the end of one timetable. Tables of step tasks have a row a copy and a column an operator."""

    def __init__(
        self,
        problem: Problem,
        timetable: Timetable,
        exchanges: Sequence[Exchange],
        overlapped: bool = True,
        exposed: Bools | None = None,
    ) -> None:
        self.problem, self.timetable, self.exchanges = problem, timetable, exchanges
        self.device_of: Ints = np.array(timetable.placement.device_of)
        ends = timetable.ends(problem)
        backward = np.where(np.isnan(ends[:, 1:]), 0.0, ends[:, 1:]).max(axis=1)  # (operators, microbatches)
        copies = np.array(timetable.copy_of)
        own = [backward[:, copies == k].max(axis=1, initial=0.0) for k in range(len(self.device_of))]
        self.ready: Floats = np.array(own)
        for d in () if overlapped else np.unique(self.device_of).tolist():
            self.ready[self.device_of == d] = self.ready[self.device_of == d].max()
        self.same = ROUNDING * float(np.nanmax(ends))
        seconds = problem.step_duration[np.arange(problem.n_operators), :, self.device_of]
        self.seconds: Floats = seconds  # (copies, operators, 3)
        self.resources = _Resources(problem, timetable, ends, float(self.ready.min()), bool(exchanges), exposed)

    def placed(self) -> Timetable:
        """The timetable with all exchanges and step tasks."""
        has, seconds = self.problem.has_step, self.seconds
        sent = self._exchange()
        step = np.full(seconds.shape, np.nan)
        update, gather = seconds[:, :, U], seconds[:, :, G]
        step[:, :, R] = self._on_streams(R, self.ready, (-(update + gather),))
        after = np.where(has[:, R], step[:, :, R] + seconds[:, :, R], self.ready)
        ready = after
        if self.problem.graph.clip_gradients and has[:, R].any():
            ready = np.maximum(after, after[:, has[:, R]].max())
        short = update <= gather
        step[:, :, U] = self._on_streams(U, ready, (np.where(short, 0.0, 1.0), np.where(short, update, -gather)))
        after = np.where(has[:, U], step[:, :, U] + update, after)
        step[:, :, G] = self._on_streams(G, after, ())
        of, timetable = step if has.any() else None, self.timetable
        return Timetable(timetable.placement, timetable.copy_of, timetable.start, timetable.transfers, of, sent)

    def _exchange(self) -> tuple[TimedExchange, ...]:
        """Place the exchanges; step tasks are ready once all have arrived on their device."""
        rest = self.seconds.sum(axis=2).max(axis=0)  # of an operator
        arrived = self.ready.copy()
        channels: defaultdict[tuple[int, int], list[Exchange]] = defaultdict(list)
        for each in self.exchanges:
            channels[each.source, each.target].append(each)
        sent: list[TimedExchange] = []
        for (source, target), those in sorted(
            channels.items(), key=lambda entry: min(self.ready[x.copy, x.operator] for x in entry[1])
        ):
            timed = [x for x in those if x.seconds > 0]
            jobs = [
                Job(float(self.ready[x.copy, x.operator]), (-float(rest[x.operator]), x.operator, x.copy), x.seconds)
                for x in timed
            ]
            starts = self.resources.place(self.resources.of_channel(source, target), jobs, self.same)
            at = {(x.copy, x.operator): start for x, start in zip(timed, starts, strict=True)}
            for x in those:
                start = at.get((x.copy, x.operator))
                end = float(self.ready[x.copy, x.operator]) if start is None else start + x.seconds
                there = self.device_of[:, x.operator] == target
                arrived[there, x.operator] = np.maximum(arrived[there, x.operator], end)
                if start is not None:
                    sent.append(TimedExchange(x.operator, x.copy, source, target, start, end))
        self.ready = arrived
        return tuple(sorted(sent, key=lambda x: (x.start, x.end, x.copy, x.operator, x.target)))

    def _on_streams(self, which: int, ready: Floats, ranks: Sequence[Floats]) -> Floats:
        """Starts of one kind of step task, NaN where there is none; ``ranks`` decide among those that are ready."""
        starts = np.full(ready.shape, np.nan)
        operators = np.flatnonzero(self.problem.has_step[:, which])
        device = self.device_of[:, operators]
        for d in np.unique(device).tolist():
            copy, at = np.nonzero(device == d)
            own = copy, operators[at]
            columns = (ready[own].tolist(), self.seconds[(*own, which)].tolist(), own[1].tolist(), own[0].tolist())
            order = zip(*(rank[own].tolist() for rank in ranks), strict=True) if ranks else [()] * len(copy)
            jobs = [
                Job(earliest, (*first, *(() if ranks else (earliest,)), i, k), seconds)
                for earliest, seconds, i, k, first in zip(*columns, order, strict=True)
            ]
            stream = 2 * d + (COMPUTE if which == U else COMM)
            starts[own] = self.resources.place([stream], jobs, self.same)
        return starts


class _Resources:
    """When streams and channels are busy: tables sorted by resource and time, and what has been added since."""

    def __init__(
        self,
        problem: Problem,
        timetable: Timetable,
        ends: Floats,
        since: float,
        channels: bool,
        exposed: Bools | None = None,
    ) -> None:
        """What the microbatches occupy after an instant; ``channels``: those too, not only streams.

        ``exposed``: the operators of the comm stream that occupy the compute stream, too.
        """
        self.n_devices, self.exclusive = problem.n_devices, problem.exclusive.tolist()
        self.added: defaultdict[Resource, list[tuple[float, float]]] = defaultdict(list)
        late = ends >= since  # not where there is no task
        operator, _, microbatch = np.nonzero(late)
        device = np.array(timetable.placement.device_of)[np.array(timetable.copy_of)[microbatch], operator]
        resource: list[Ints] = [2 * device + problem.on_comm[operator]]
        start, end = [timetable.start[late]], [ends[late]]
        if exposed is not None:
            stops = exposed[operator]
            resource.append(2 * device[stops] + COMPUTE)
            start.append(start[0][stops])
            end.append(end[0][stops])
        if channels or problem.exclusive.any():
            moved = [x for x in timetable.transfers if x.end >= since]
            some = [(x.start, x.end, each) for x in moved for each in self.of_channel(x.source, x.target)]
            if some:
                begin, over, where = zip(*some, strict=True)
                start.append(np.array(begin))
                end.append(np.array(over))
                resource.append(np.array(where))
        occupied, starts, ends = np.concatenate(resource), np.concatenate(start), np.concatenate(end)
        order = np.lexsort((ends, starts, occupied))
        self.resource, self.start, self.end = occupied[order], starts[order], ends[order]

    def of_channel(self, source: int, target: int) -> list[Resource]:
        """What a transfer between two devices occupies."""
        streams = [2 * d + COMPUTE for d in (source, target) if self.exclusive[d]]
        return [2 * self.n_devices + source * self.n_devices + target, *streams]

    def place(self, resources: Sequence[Resource], jobs: Sequence[Job], same: float) -> list[float]:
        """The starts of jobs that each occupy all these resources, which are busy then."""
        if not jobs:
            return []
        since, shortest = min(job.ready for job in jobs), min(job.seconds for job in jobs)
        starts = in_gaps(self._gaps(resources, since, shortest - same), jobs, same)
        for start, job in zip(starts, jobs, strict=True):
            for resource in resources:
                self.added[resource].append((start, start + job.seconds))
        return starts

    def _gaps(self, resources: Sequence[Resource], since: float, shortest: float) -> Iterable[tuple[float, float]]:
        """The intervals of at least some length, after an instant, in which all of these are idle; the last is open."""
        start, end = [], []
        for resource in resources:
            first, last = np.searchsorted(self.resource, [resource, resource + 1])
            start.append(self.start[first:last])
            end.append(self.end[first:last])
            more = self.added.get(resource)
            if more:
                start.append(np.array([a for a, _ in more]))
                end.append(np.array([b for _, b in more]))
        begin, over = np.concatenate(start), np.concatenate(end)
        order = np.lexsort((over, begin))
        low = np.concatenate(([0.0], np.maximum.accumulate(over[order])))
        high = np.concatenate((begin[order], [np.inf]))
        fits = (high >= since) & (high - low >= shortest)
        return zip(low[fits].tolist(), high[fits].tolist(), strict=True)


def in_gaps(gaps: Iterable[tuple[float, float]], jobs: Sequence[Job], same: float) -> list[float]:
    """The starts of jobs in gaps, one at a time: whenever there is room, the first by rank that is ready and fits."""
    starts = [0.0] * len(jobs)
    coming = sorted(range(len(jobs)), key=lambda k: jobs[k].ready, reverse=True)
    ready: list[tuple[tuple[float, ...], int]] = []
    for low, high in gaps:
        now, too_long = low, []
        while True:
            while coming and jobs[coming[-1]].ready <= now:
                k = coming.pop()
                heappush(ready, (jobs[k].rank, k))
            if not ready:
                if not coming or jobs[coming[-1]].ready > high:
                    break
                now = jobs[coming[-1]].ready
                continue
            entry = heappop(ready)
            seconds = jobs[entry[1]].seconds
            if now + seconds <= high + same:
                starts[entry[1]] = now
                now += seconds
            else:
                too_long.append(entry)
        for entry in too_long:
            heappush(ready, entry)
        if not ready and not coming:
            break
    return starts
