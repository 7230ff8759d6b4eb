"""Bounds of the problem: they hold for every placement and order that the flags allow."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from planner.bounds.waits import Waits, fastest, fastest_steps
from planner.common.budget import Control
from planner.common.highs import Model
from planner.problem import Problem

Floats = npt.NDArray[np.float64]

STARTS_AT_MOST = 64
"""Earliest starts that the passes of an operator (or group) are divided by."""


def longest_chain(problem: Problem) -> float:
    """The passes of one microbatch along the longest path, each on its fastest device, transfers free."""
    best = fastest(problem)
    forward, backward = np.zeros(problem.n_operators), np.zeros(problem.n_operators)
    for i in problem.topological:
        forward[i] = best[i, 0] + max((forward[j] for j in problem.inputs[i]), default=0.0)
    if not problem.training:
        return float(forward.max())
    ends, ending = np.zeros(problem.n_operators), fastest_steps(problem).sum(axis=1)
    for i in reversed(problem.topological):
        ready = max((backward[j] for j in problem.consumers[i]), default=0.0)
        backward[i] = max(ready, forward[i]) + best[i, 1]
        ends[i] = backward[i] + best[i, 2] + ending[i]
    return float(ends.max())


def group_bound(problem: Problem) -> float:
    """The work of one operator (or one colocated group) on its device, with what must come before and after it.

    One device runs all of it; with K copies one of them runs at least M / K microbatches, rounded up. For any of its
    passes: the first of them starts no sooner than its inputs could have run, then the stream works on all of them, and
    after the last of them the rest of that microbatch follows. So the forward passes and input gradients of the last
    operator, whose weight gradients may wait, run between the way through the network and the way back. (The bound of
    Carlier 1982 for one machine with heads and tails.)
    """
    waits = Waits.of(problem)
    best = 0.0
    for members in problem.groups:
        allowed = problem.runs_on[list(members)].all(axis=0)
        for comm in (False, True):
            here = [i for i in members if problem.on_comm[i] == comm]
            if here:
                steps = [] if comm else list(members)
                best = max(best, _one_machine(*_tasks_of(problem, waits, here, steps, np.flatnonzero(allowed))))
    return best


def _tasks_of(
    problem: Problem, waits: Waits, here: list[int], updated: list[int], devices: npt.NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Passes of operators on one stream and updates of some: what comes before, what follows, work ``[k, device]``.

    The work is that of the fewest microbatches that the device of one copy at least runs.
    """
    share = math.ceil(problem.microbatches / problem.copies)
    seconds, ending = fastest(problem), fastest_steps(problem)
    before = [waits.head[here], waits.turn[here], waits.turn[here] + seconds[here, 1]]
    after = [waits.drain[here], waits.after[here], ending[here].sum(axis=1)]
    passes = 3 if problem.training else 1
    work = [share * problem.duration[here, p][:, devices] for p in range(passes)]
    return (
        np.concatenate([*before[:passes], (waits.turn + seconds[:, 1])[updated]]),
        np.concatenate([*after[:passes], ending[updated, 2]]),
        np.concatenate([*work, problem.step_duration[updated, 1][:, devices]]),
    )


def _one_machine(before: Floats, after: Floats, work: Floats) -> float:
    """The longest of (least before + work + least after) over sets of tasks, on the device (column) of the least."""
    best, some = 0.0, work.max(axis=1) > 0
    if not some.any():
        return best
    before, after, work = before[some], after[some], work[some]
    order = np.argsort(-after, kind="stable")
    before, after, work = before[order], after[order], work[order]
    starts = np.unique(before)
    for start in starts[:: math.ceil(len(starts) / STARTS_AT_MOST)]:
        late = before >= start
        total = np.cumsum(work[late], axis=0).min(axis=1)
        best = max(best, float((start + total + after[late]).max()))
    return best


def load_bound(problem: Problem, control: Control) -> float:
    """The work of all microbatches, spread over the streams as evenly as fractions allow (a linear program).

    An operator takes its own passes' time on the device that runs it; with K copies it may be spread over several
    devices, so that fractions are no loss. Step tasks count once, as if they could run elsewhere than their operator.
    """
    if not problem.has_step.any():
        return problem.microbatches * least_load(problem, control)
    steps = np.where(problem.runs_on[:, None, :], problem.step_duration, np.inf)
    rows = np.concatenate([problem.microbatches * _work(problem), steps[:, 1], steps[:, 0] + steps[:, 2]])
    none = np.zeros(problem.n_operators, dtype=bool)
    return _even_load(problem.n_devices, rows, np.concatenate([problem.on_comm, none, ~none]), control)


def least_load(problem: Problem, control: Control) -> float:
    """The least possible load of the busiest stream for a microbatch, in seconds, operators divisible."""
    return _even_load(problem.n_devices, _work(problem), problem.on_comm, control)


def _work(problem: Problem) -> Floats:
    """``[i, d]``: seconds that a microbatch of operator i takes on device d; inf where it cannot run it."""
    return np.where(problem.runs_on, problem.duration.sum(axis=1), np.inf)


def _even_load(n_devices: int, work: Floats, on_comm: npt.NDArray[np.bool_], control: Control) -> float:
    """The least possible load of the busiest stream, seconds, rows of ``work`` divisible over the devices."""
    kinds: dict[tuple[bytes, bool], list[int]] = {}  # operators with the same times on every device
    for i in range(len(work)):
        kinds.setdefault((work[i].tobytes(), bool(on_comm[i])), []).append(i)
    uniform = all(np.isfinite(work[members[0]]).all() and np.ptp(work[members[0]]) == 0 for members in kinds.values())
    if uniform:
        totals = [math.fsum(work[i, 0] for i in np.flatnonzero(on_comm == comm)) for comm in (False, True)]
        return max(totals) / n_devices
    model = Model()
    scale = float(work[np.isfinite(work)].max()) or 1.0
    busiest = model.variable(cost=1.0)
    streams: dict[tuple[int, bool], tuple[list[int], list[float]]] = {}
    for (_, comm), members in kinds.items():
        columns: list[int] = []
        for d in range(n_devices):
            seconds = float(work[members[0], d])
            if math.isfinite(seconds):
                columns.append(model.variable())
                index, value = streams.setdefault((d, comm), ([busiest], [-1.0]))
                index.append(columns[-1])
                value.append(seconds / scale)
        model.row(columns, [1.0] * len(columns), float(len(members)), float(len(members)))
    for index, value in streams.values():
        model.row(index, value, upper=0.0)
    outcome = model.solve(control)
    # the solver's tolerances are 1e-7: the bound is lowered by as much
    return max(0.0, outcome.bound * (1.0 - 1e-7)) * scale if outcome.optimal else 0.0


def latency_bound(problem: Problem) -> float:
    """Work, plus the wait for the first and after the last task on each device, averaged over the devices in use.

    Each device in use hosts an operator of its own, or one of its copies, that starts nothing before its inputs
    could have run and after which its last consumers' passes follow; so the j-th soonest device starts no sooner
    than the j-th soonest of all copies of operators. Assumes nothing of the placement, but pass times that do not
    depend on the device (0 else).
    """
    work = np.where(problem.runs_on, problem.duration.sum(axis=1), np.nan)
    if np.nanmax(np.ptp(np.nan_to_num(work, nan=-1.0), axis=1)) > 0:
        return 0.0
    waits = Waits.of(problem)
    heads, tails = waits.head, waits.tail
    best = 0.0
    for comm in (False, True):
        members = np.flatnonzero((problem.on_comm == comm) & (work[:, 0] > 0))
        if not len(members):
            continue
        total = problem.microbatches * math.fsum(work[members, 0])
        first = np.sort(np.repeat(heads[members], problem.copies))[: problem.n_devices]
        last = np.sort(np.repeat(tails[members], problem.copies))[: problem.n_devices]
        ends = np.cumsum(first) + np.cumsum(last)
        best = max(best, float(((total + ends) / np.arange(1, len(ends) + 1)).min()))
    return best
