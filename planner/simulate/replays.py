"""Many replays of one plan at once: event after event in topological order, each for all runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from planner.events import Events, one_edge_each
from planner.events.nodes import Floats
from planner.simulate.disturb import Disturbance

CELLS = 16_000_000
"""Instants held at once: 128 MB of them, whatever the size of the plan and the number of runs."""

ROUNDING = 1e-6
"""Relative to the makespan: a plan whose undisturbed replay differs by more is wrong."""


class NotReplayed(Exception):
    """The plan's times do not follow from its order: it is no valid plan."""


@dataclass(frozen=True)
class Outcome:
    """The makespans (seconds) of a plan in all runs, and the planned one."""

    planned: float
    makespans: Floats

    @property
    def mean(self) -> float:
        """Of all runs."""
        return float(self.makespans.mean())

    def quantile(self, q: float) -> float:
        """The makespan that a share ``q`` of the runs does not exceed, interpolated between runs."""
        return float(np.quantile(self.makespans, q))

    @property
    def slowdown(self) -> float:
        """The mean over the planned makespan."""
        return self.mean / self.planned if self.planned > 0 else 1.0

    def beyond(self, makespan: float) -> float:
        """The share of runs that take longer than so many seconds (by more than rounding)."""
        return float((self.makespans > makespan * (1 + 1e-9)).mean())

    def faster_than(self, other: Outcome) -> float:
        """The share of runs in which this plan is faster than another under the same disturbance."""
        return float((self.makespans < other.makespans * (1 - 1e-9)).mean())


def simulate(events: Events, planned: float, disturbance: Disturbance, runs: int, seed: int) -> Outcome:
    """Replay a plan of ``planned`` seconds so many times.

    Every stream and channel keeps the plan's order, memory is taken in the plan's order, and each start is the
    latest of what it waits for. Raises ``NotReplayed`` where the plan's own lengths do not give ``planned``.
    """
    undisturbed = float(replayed_makespans(events, [events.seconds[:, None]])[0])
    rounding = planned - undisturbed  # of sums in another order: without disturbance the plan's figure comes out
    if abs(rounding) > ROUNDING * max(planned, undisturbed):
        raise NotReplayed(
            f"its order takes {undisturbed:.9g} s by its own lengths, but its makespan is {planned:.9g} s"
        )
    at_once = max(1, min(runs, CELLS // max(1, 2 * events.nodes.n)))
    lengths = disturbance.lengths(events, runs, seed, at_once)
    return Outcome(planned, replayed_makespans(events, lengths) + rounding)


def replayed_makespans(events: Events, lengths: Iterable[Floats]) -> Floats:
    """The makespan of each run, from arrays of shape (nodes, runs) of seconds."""
    n = events.nodes.n
    # Rows of one table: starts of all nodes, then their ends.
    ptr, rows = one_edge_each(events.after, np.where(events.from_start, events.before, events.before + n), n)
    pointer, order = ptr.tolist(), events.order.tolist()
    hold = events.hold.tolist()
    found = [np.zeros(0)]
    for seconds in lengths:
        instants = np.zeros((2 * n, seconds.shape[1]))
        for node in order:
            start = instants[node]
            a, b = pointer[node], pointer[node + 1]
            if b == a + 1:
                start[:] = instants[rows[a]]
            elif b > a:
                instants[rows[a:b]].max(axis=0, out=start)
            if hold[node] > 0.0:
                start += hold[node]
            np.add(start, seconds[node], out=instants[n + node])
        ends = instants[n : n + events.nodes.n_tasks].max(axis=0, initial=0.0)
        found.append(np.maximum(ends, instants[n + events.nodes.exchanges].max(axis=0, initial=0.0)))
    return np.concatenate(found)
