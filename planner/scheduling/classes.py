"""Task classes: all microbatches of one copy are alike, so a schedule is a matter of counting.

A class is (copy, operator, pass), or a transfer of it between two devices. Its k-th start is, without loss of
generality, the k-th microbatch of the copy (exchanging two identical microbatches changes nothing), so every
model of level 2 only counts how many of each class have started. Microbatches are split between copies in contiguous
runs: copy 0 takes the first ``counts[0]``, and so on.

What comes once a step (R, U, G, and gradients that copies exchange) are classes of one task. They wait for the *last*
tasks of their predecessors: classes correspond from the end (the same from the beginning where both run equally often).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from planner.problem import Placement, Problem, common_step
from planner.timetable.timetable import TimedExchange, TimedTransfer, Timetable
from planner.timetable.whole_step import Exchange, exchanges_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

R, U, G, BARRIER = 3, 4, 5, 6
"""Passes of classes that come once a step; ``BARRIER`` is no task."""

TICKS_AT_MOST = 2.0**46
"""Ticks of the horizon, at most. Times are whole ticks, exactly if that many suffice, else rounded."""


class Hold(NamedTuple):
    """Memory that the start of class ``alloc`` takes on ``device`` until all ``releases`` have ended (rule 5)."""

    device: int
    size: float  # bytes a microbatch
    alloc: int
    releases: tuple[int, ...]


@dataclass(frozen=True)
class Classes:
    """The classes of a problem under a placement, as arrays over classes.

    ``resources[a]``: the streams (device x 2 + stream) and channels that class a occupies while it runs.
    ``preds[a]``: classes whose k-th last task must have ended before the k-th last of a starts.
    """

    problem: Problem
    placement: Placement
    counts: tuple[int, ...]  # microbatches a copy
    copy: Ints
    operator: Ints
    pass_: Ints  # 0 F, 1 I, 2 W; once a step 3 R, 4 U, 5 G, and 6 for what takes no time: all R of the plan have ended
    target: Ints  # receiving device of a transfer (of pass 3: of an exchange), -1 for a task
    device: Ints  # where it runs; the sending device of a transfer
    seconds: Floats
    resources: tuple[tuple[int, ...], ...]
    preds: tuple[tuple[int, ...], ...]
    holds: tuple[Hold, ...]
    n_resources: int

    @property
    def n(self) -> int:
        """Number of classes."""
        return len(self.copy)

    @cached_property
    def names(self) -> list[tuple[int, int, int, int, int]]:
        """Copy, operator, pass, device and receiving device of each class: what tells it apart from all others."""
        columns = (self.copy, self.operator, self.pass_, self.device, self.target)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    @cached_property
    def once(self) -> npt.NDArray[np.bool_]:
        """Which classes have one task, at the end of the step."""
        return np.asarray(self.pass_ >= R)

    @cached_property
    def count(self) -> Ints:
        """Tasks of each class: the microbatches of its copy."""
        return np.where(self.once, 1, np.array(self.counts, dtype=np.int64)[self.copy])

    @cached_property
    def computes(self) -> npt.NDArray[np.bool_]:
        """Which classes occupy a compute stream as tasks."""
        streams = np.array([rows[0] for rows in self.resources])
        return np.asarray((self.target < 0) & (streams < 2 * self.problem.n_devices) & (streams % 2 == 0))

    @cached_property
    def n_tasks(self) -> int:
        """Tasks and transfers of the whole step."""
        return int(self.count.sum())

    @cached_property
    def succs(self) -> tuple[tuple[int, ...], ...]:
        """The inverse of ``preds``."""
        out: list[list[int]] = [[] for _ in range(self.n)]
        for a, preds in enumerate(self.preds):
            for b in preds:
                out[b].append(a)
        return tuple(tuple(s) for s in out)

    @cached_property
    def topological(self) -> tuple[int, ...]:
        """Classes such that predecessors come first."""
        left = [len(p) for p in self.preds]
        order = [a for a in range(self.n) if not left[a]]
        for a in order:
            for b in self.succs[a]:
                left[b] -= 1
                if not left[b]:
                    order.append(b)
        return tuple(order)

    @cached_property
    def head(self) -> Floats:
        """Earliest start of a class's first task: the longest chain of predecessors, in seconds."""
        head, preds = [0.0] * self.n, self.preds
        count, seconds = self.count.tolist(), self.seconds.tolist()  # lists: numpy takes several times as long
        for a in self.topological:
            begin, fewer = 0.0, 1 - count[a]
            for b in preds[a]:
                begin = max(begin, head[b] + (fewer + count[b]) * seconds[b])
            head[a] = begin
        return np.array(head)

    @cached_property
    def tail(self) -> Floats:
        """Least time between the end of a class's task and the end of the step, in seconds."""
        tail, seconds, preds = [0.0] * self.n, self.seconds.tolist(), self.preds
        for a in reversed(self.topological):
            rest = tail[a] + seconds[a]
            for b in preds[a]:
                tail[b] = max(tail[b], rest)
        return np.array(tail)

    @cached_property
    def stage_round(self) -> Ints:
        """The virtual-stage round of each class: how often the path has visited its device before."""
        stage_rounds = self.placement.stage_rounds(self.problem.topological)
        return np.array(
            [stage_rounds[c][i] for c, i in zip(self.copy.tolist(), self.operator.tolist(), strict=True)],
            dtype=np.int64,
        )

    @cached_property
    def round_begins(self) -> Floats:
        """The earliest start of each virtual-stage round, forward and backward, in seconds; ``[pass, round]``."""
        begins = np.full((2, int(self.stage_round.max()) + 1), np.inf)
        tasks = np.flatnonzero((self.target < 0) & (self.pass_ <= 1))
        np.minimum.at(begins, (self.pass_[tasks], self.stage_round[tasks]), self.head[tasks])
        return begins

    @cached_property
    def into_round(self) -> Floats:
        """The earliest start of a class after that of its round, in seconds; ``[pass, class]``."""
        seconds: Floats = self.head - self.round_begins[:, self.stage_round]
        return seconds

    @cached_property
    def available(self) -> Floats:
        """Bytes left for activations on each device: the cap less the parameters of what is placed there."""
        resident = self.problem.resident_parameters(self.placement)
        taken: Floats = np.array([math.fsum(own.values()) for own in resident])
        return self.problem.cap_with_slack - taken

    @cached_property
    def tick(self) -> float:
        """Seconds a tick: the greatest common step of all durations where it is coarse enough."""
        exact = common_step(self.seconds)
        horizon = float((self.seconds * self.count).sum()) or 1.0
        if exact is not None and horizon / exact < TICKS_AT_MOST:
            return exact
        return horizon / TICKS_AT_MOST

    @cached_property
    def ticks(self) -> Floats:
        """Durations in whole ticks, so that equal sums of times compare equal."""
        return np.rint(self.seconds / self.tick)

    @cached_property
    def deferrable(self) -> npt.NDArray[np.bool_]:
        """Weight gradients that release no memory: nothing waits for them, so they can fill idle time."""
        giving = {a for hold in self.holds for a in hold.releases if hold.size > 0}
        return np.array([p == 2 and a not in giving for a, p in enumerate(self.pass_.tolist())], dtype=bool)

    def first_microbatch(self, copy: int) -> int:
        """The index of the first microbatch of a copy."""
        return sum(self.counts[:copy])

    def starts_of(self, timetable: Timetable) -> Floats | None:
        """Starts (seconds) of a timetable, shaped (classes, largest count), each row in order.

        None where its placement or its numbers of microbatches for each copy are others.
        """
        members = [[m for m, c in enumerate(timetable.copy_of) if c == copy] for copy in range(len(self.counts))]
        if timetable.placement.key != self.placement.key or tuple(map(len, members)) != self.counts:
            return None
        # A gradient may come back to its producer from several devices.
        sent = {(t.operator, t.pass_, t.microbatch, t.source, t.target): t.start for t in timetable.transfers}
        exchanged = {(x.operator, x.copy, x.target): x.start for x in timetable.exchanges}
        start = np.full((self.n, int(self.count.max())), np.nan)
        for a in np.flatnonzero(self.once & (self.pass_ <= G)).tolist():
            i, p, copy, to = int(self.operator[a]), int(self.pass_[a]), int(self.copy[a]), int(self.target[a])
            if to >= 0:
                start[a, 0] = exchanged[i, copy, to]
            elif timetable.step is not None:
                start[a, 0] = timetable.step[copy, i, p - R]
        for a in np.flatnonzero(self.pass_ > G).tolist():
            start[a, 0] = max((start[b, 0] + self.seconds[b] for b in self.preds[a]), default=0.0)
        for a in np.flatnonzero(~self.once).tolist():
            i, p, at, to = int(self.operator[a]), int(self.pass_[a]), int(self.device[a]), int(self.target[a])
            here = members[int(self.copy[a])]
            starts = timetable.start[i, p, here] if to < 0 else [sent[i, p, m, at, to] for m in here]
            start[a, : len(here)] = np.sort(starts)
        return start

    def timetable(self, start: Floats) -> Timetable:
        """The timetable of start times (seconds) shaped (classes, largest count)."""
        problem = self.problem
        table = np.full((problem.n_operators, 3, problem.microbatches), np.nan)
        transfers: list[TimedTransfer] = []
        step, exchanges = self._ending(start)
        for a in np.flatnonzero(~self.once).tolist():
            first, count = self.first_microbatch(int(self.copy[a])), int(self.count[a])
            i, p = int(self.operator[a]), int(self.pass_[a])
            if self.target[a] < 0:
                table[i, p, first : first + count] = start[a, :count]
                continue
            for k in range(count):
                begin = float(start[a, k])
                transfers.append(
                    TimedTransfer(
                        i,
                        p,
                        first + k,
                        int(self.device[a]),
                        int(self.target[a]),
                        begin,
                        begin + float(self.seconds[a]),
                    )
                )
        copy_of = tuple(c for c, n in enumerate(self.counts) for _ in range(n))
        return Timetable(self.placement, copy_of, table, tuple(transfers), step, exchanges)

    def _ending(self, start: Floats) -> tuple[Floats | None, tuple[TimedExchange, ...]]:
        """The starts of step tasks (None where there are none), and the exchanges."""
        problem, exchanges = self.problem, []
        step = np.full((self.placement.copies, problem.n_operators, 3), np.nan)
        for a in np.flatnonzero(self.once & (self.pass_ <= G)).tolist():
            i, copy, begin = int(self.operator[a]), int(self.copy[a]), float(start[a, 0])
            if self.target[a] < 0:
                step[copy, i, int(self.pass_[a]) - R] = begin
            else:
                end = begin + float(self.seconds[a])
                exchanges.append(TimedExchange(i, copy, int(self.device[a]), int(self.target[a]), begin, end))
        return (None if np.isnan(step).all() else step), tuple(exchanges)


def split_microbatches(microbatches: int, copies: int) -> tuple[int, ...]:
    """Microbatches a copy, as even as can be, the first copies taking the remainder."""
    return tuple(microbatches // copies + (c < microbatches % copies) for c in range(copies))


def build_classes(problem: Problem, placement: Placement, counts: tuple[int, ...] | None = None) -> Classes:
    """The classes of a problem under a placement; ``counts``: the microbatches of each copy."""
    if counts is None:
        counts = split_microbatches(problem.microbatches, placement.copies)
    builder = _Builder(problem, placement)
    for copy in range(placement.copies):
        if counts[copy]:
            builder.add_copy(copy)
        if problem.ends_with_step_tasks:
            builder.add_ending(copy)
    builder.connect_endings()
    return builder.finish(counts)


class _Builder:
    """Collects classes copy by copy."""

    def __init__(self, problem: Problem, placement: Placement) -> None:
        self.problem = problem
        self.placement = placement
        self.training = problem.training
        self.exclusive = problem.exclusive.tolist()
        self.rows: list[tuple[int, int, int, int, int, float]] = []  # copy, operator, pass, target, device, seconds
        self.resources: list[tuple[int, ...]] = []
        self.preds: list[list[int]] = []
        self.holds: list[Hold] = []
        self.channels: dict[tuple[int, int], int] = {}
        self.own = problem.of_copies(placement)  # the problem of each copy, in its variants
        self.lasts: dict[tuple[int, int], list[int]] = {}  # by copy and operator: the classes of its gradients
        self.step: dict[tuple[int, int, int], int] = {}  # by copy, operator and step task: its class
        self.exchanges: dict[tuple[int, int, int], int] = {}  # by copy, operator and receiving device
        self.sent: dict[tuple[int, int], list[Exchange]] = {}  # by copy and operator: what takes time
        for each in exchanges_of(problem, placement) if placement.copies > 1 else ():
            if each.seconds > 0:
                self.sent.setdefault((each.copy, each.operator), []).append(each)
        self.barriers: dict[int, int] = {}  # by copy: the class that waits for all reductions

    def add_copy(self, copy: int) -> None:
        """F, I and W of a copy, its transfers, and what it holds."""
        problem, where, order = self.own[copy], self.placement.device_of[copy], self.problem.topological
        at, topological, first = np.array(where), np.array(order), len(self.rows)
        passes, place = np.nonzero(problem.has_pass[topological].T)  # pass by pass
        operator = topological[place]
        device, seconds = at[operator], problem.duration[operator, passes, at[operator]]
        columns = (operator.tolist(), passes.tolist(), device.tolist(), seconds.tolist())
        self.rows += [(copy, i, p, -1, d, length) for i, p, d, length in zip(*columns, strict=True)]
        self.resources += [(stream,) for stream in (2 * device + problem.on_comm[operator]).tolist()]
        self.preds += [[] for _ in place]
        index = np.full((len(where), 3), -1)
        index[operator, passes] = np.arange(first, first + len(place))
        of: list[list[int]] = index.tolist()  # by operator and pass: its class, -1 where there is none
        leaving: dict[int, list[int]] = {}
        for i in order:
            readers: dict[int, list[int]] = {}
            for j in problem.consumers[i]:
                readers.setdefault(where[j], []).append(j)
            for to, there in readers.items():
                self._connect(copy, i, to, there, of, leaving)
            if self.training:
                _, gradient, late = of[i]
                self.preds[gradient].append(of[i][0])
                if late >= 0:
                    self.preds[late].append(gradient)
        self._hold(problem, where, of, leaving)
        self.lasts.update({(copy, i): [a for a in of[i][1:] if a >= 0] for i in order})

    def add_ending(self, copy: int) -> None:
        """R, U and G of a copy, and what it sends to other copies."""
        problem, where = self.problem, self.placement.device_of[copy]
        has_step = problem.has_step.tolist()
        seconds = problem.step_duration[np.arange(len(where)), :, where].tolist()
        for i in problem.topological:
            d = where[i]
            for each in self.sent.get((copy, i), ()):
                self.exchanges[copy, i, each.target] = self._transfer(copy, i, R, d, each.target, each.seconds)
            for s in range(3):
                if has_step[i][s]:
                    stream = 2 * d + int(s != 1)
                    self.step[copy, i, s] = self._add(copy, i, R + s, -1, d, seconds[i][s], (stream,))

    def connect_endings(self) -> None:
        """What step tasks and exchanges wait for (see the second part of the specification, "The whole step")."""
        problem = self.problem
        clips, exchanged = problem.graph.clip_gradients, (problem.gradient > 0).tolist()
        for (copy, i, _), a in self.exchanges.items():
            self.preds[a].extend(self.lasts.get((copy, i), ()))
        reductions = [a for (_, _, s), a in self.step.items() if s == 0]
        for copy in range(self.placement.copies):
            if clips and reductions and any(c == copy and s == 1 for c, _, s in self.step):
                barrier = self._add(copy, 0, BARRIER, -1, self.placement.device_of[copy][0], 0.0, ())
                self.barriers[copy] = barrier
                self.preds[barrier].extend(reductions)
        for copy, device_of in enumerate(self.placement.device_of):
            for i, d in enumerate(device_of):
                waits = list(self.lasts.get((copy, i), ()))
                for other, where in enumerate(self.placement.device_of):
                    if where[i] != d and exchanged[i]:
                        sent = self.exchanges.get((other, i, d))
                        waits += self.lasts.get((other, i), ()) if sent is None else [sent]
                for s in range(3):
                    own = self.step.get((copy, i, s))
                    if own is None:
                        continue
                    self.preds[own].extend(waits)
                    if s == 1 and copy in self.barriers:
                        self.preds[own].append(self.barriers[copy])
                    waits = [own]

    def _connect(
        self, copy: int, i: int, device: int, readers: list[int], of: list[list[int]], leaving: dict[int, list[int]]
    ) -> None:
        """Output of i to its readers on one device, and the gradient back (rules 3 and 4)."""
        here, preds, (forward, backward, _) = self.placement.device_of[copy][i], self.preds, of[i]
        there = 0.0 if device == here else self.problem.transfer(i, here, device)
        if there > 0:
            sent = self._transfer(copy, i, 0, here, device, there)
            preds[sent].append(forward)
            leaving.setdefault(i, []).append(sent)
        else:
            sent = forward
        for j in readers:
            preds[of[j][0]].append(sent)
        if not self.training:
            return
        back = 0.0 if device == here else self.problem.transfer(i, device, here)
        if back > 0:
            sent = self._transfer(copy, i, 1, device, here, back)
            preds[backward].append(sent)
            backward = sent
        preds[backward].extend([of[j][1] for j in readers])

    def _hold(
        self, problem: Problem, where: tuple[int, ...], of: list[list[int]], leaving: dict[int, list[int]]
    ) -> None:
        """What the activations of a copy hold, and until when (rule 5)."""
        sizes, lates = problem.activation.tolist(), problem.held.tolist()
        for i in problem.topological:
            device, size, late, (forward, backward, last) = where[i], sizes[i], lates[i], of[i]
            if not size > 0:
                continue
            if not self.training:
                here = [of[j][0] for j in problem.consumers[i] if where[j] == device]
                self.holds.append(Hold(device, size, forward, (*here, *leaving.get(i, ())) or (forward,)))
                continue
            if size > late:
                self.holds.append(Hold(device, size - late, forward, (backward,)))
            if late > 0:
                self.holds.append(Hold(device, late, forward, (last,)))

    def _transfer(self, copy: int, i: int, p: int, source: int, target: int, seconds: float) -> int:
        channel = self.channels.setdefault((source, target), 2 * self.problem.n_devices + len(self.channels))
        ends = [2 * d for d in (source, target) if self.exclusive[d]]
        return self._add(copy, i, p, target, source, seconds, (channel, *ends))

    def _add(
        self, copy: int, i: int, p: int, target: int, device: int, seconds: float, resources: tuple[int, ...]
    ) -> int:
        self.rows.append((copy, i, p, target, device, seconds))
        self.resources.append(resources)
        self.preds.append([])
        return len(self.rows) - 1

    def finish(self, counts: tuple[int, ...]) -> Classes:
        for k, barrier in enumerate(self.barriers.values()):  # each has a resource of its own
            self.resources[barrier] = (2 * self.problem.n_devices + len(self.channels) + k,)
        if self.placement.copies > 1:
            self._copy_by_copy()
        copy, operator, pass_, target, device, seconds = zip(*self.rows, strict=True)
        return Classes(
            problem=self.problem,
            placement=self.placement,
            counts=counts,
            copy=np.array(copy, dtype=np.int64),
            operator=np.array(operator, dtype=np.int64),
            pass_=np.array(pass_, dtype=np.int64),
            target=np.array(target, dtype=np.int64),
            device=np.array(device, dtype=np.int64),
            seconds=np.array(seconds, dtype=float),
            resources=tuple(self.resources),
            preds=tuple([tuple(dict.fromkeys(some)) if len(some) > 1 else tuple(some) for some in self.preds]),
            holds=tuple(self.holds),
            n_resources=2 * self.problem.n_devices + len(self.channels) + len(self.barriers),
        )

    def _copy_by_copy(self) -> None:
        """Put the classes of each copy one after the other, as ``mirror`` wants it."""
        order = sorted(range(len(self.rows)), key=lambda a: self.rows[a][0])
        place = [0] * len(order)
        for k, a in enumerate(order):
            place[a] = k
        self.rows, self.resources = [self.rows[a] for a in order], [self.resources[a] for a in order]
        self.preds = [[place[b] for b in self.preds[a]] for a in order]
        self.holds = [Hold(h.device, h.size, place[h.alloc], tuple([place[a] for a in h.releases])) for h in self.holds]


def keep_to_order(classes: Classes, copy: int, tasks: list[tuple[int, int]]) -> Classes:
    """Classes in which each microbatch of a copy takes memory in the order of ``tasks`` (operator, pass).

    Every task that takes memory on a device waits for all that ``tasks`` has there before it, and for the
    transfers that leave the device by then, so that a microbatch never holds more than in the sequence.
    """
    of = {
        (int(classes.operator[a]), int(classes.pass_[a])): a
        for a in range(classes.n)
        if classes.copy[a] == copy and classes.target[a] < 0
    }
    leaving: dict[int, list[int]] = {}
    for a in range(classes.n):
        if classes.copy[a] == copy and classes.target[a] >= 0:
            leaving.setdefault(of[int(classes.operator[a]), 0], []).append(a)
    taking = {hold.alloc for hold in classes.holds}
    preds = [list(p) for p in classes.preds]
    before: dict[int, list[int]] = {}  # device: the last task that takes memory there, and all since
    for task in tasks:
        a = of[task]
        here = before.setdefault(int(classes.device[a]), [])
        if a in taking:
            preds[a].extend(here)
            here.clear()
        here.append(a)
        if not classes.problem.training:
            here.extend(leaving.get(a, ()))
    return replace(classes, preds=tuple(tuple(dict.fromkeys(p)) for p in preds))
