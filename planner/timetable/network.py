"""Nodes on lanes in a fixed order, nodes on channels first ready first served: what ``simulation`` plays through.

The nodes are tasks, or whole actions for schedules that run them as one block, and the transfers between them. All
of it stands in arrays, and most of it is added for all microbatches at once: a step has tens of thousands of nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from planner.common.ragged import compressed, rows
from planner.timetable.event_loop import simulation

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass
class Memory:
    """What a replay under caps keeps count of; a node holds its ``needs`` until its releases have come.

    ``sequence`` fixes the order in which a device's nodes may allocate, where it names them. The lanes of
    device d are 2d and 2d + 1.
    """

    free: Floats
    sequence: dict[int, Sequence[int]] = field(default_factory=dict)
    needs: list[tuple[Ints, int, float]] = field(default_factory=list)  # nodes, device and bytes of each
    releases: list[tuple[list[Ints], int, float]] = field(default_factory=list)

    def release_after(self, nodes: Sequence[Ints], device: int, amount: float) -> None:
        """Give ``amount`` back once the k-th of all ``nodes`` have ended, for every k."""
        self.releases.append((list(nodes), device, amount))


class Network:
    """Nodes with lengths and precedence. A node on a lane waits for its turn, one on a channel for a gap.

    Lanes are numbered from 0 and run their nodes in exactly the order given. A channel (a pair of devices)
    serves the first that is ready, ties in order of node number. A node on a channel may also occupy lanes:
    then it goes before the next node in the order of each, which waits for it (so nothing deadlocks: where
    nothing runs, every lane is idle and the first ready transfer can go).
    """

    def __init__(self, seconds: Floats, lanes: Sequence[Ints]) -> None:
        self.seconds = [seconds]
        self.lanes = lanes
        self.n = len(seconds)
        self.before: list[Ints] = []
        self.after: list[Ints] = []
        self.channels: dict[tuple[int, int], int] = {}
        self.sent: list[tuple[Ints, int, tuple[int, ...]]] = []  # nodes, their channel, the lanes they occupy

    def precede(self, before: Ints, after: Ints) -> None:
        """Each of ``after`` starts no earlier than that of ``before`` ends; -1 stands for none."""
        known = (before >= 0) & (after >= 0) & (before != after)  # one block may hold both
        self.before.append(before[known])
        self.after.append(after[known])

    def grow(self, count: int) -> int:
        """Add so many nodes; the number of the first."""
        self.seconds.append(np.zeros(count))
        self.n += count
        return self.n - count

    def send(self, nodes: Ints, channel: tuple[int, int], seconds: float, occupies: tuple[int, ...]) -> None:
        """Say of some of the nodes last grown that they are on a channel."""
        self.seconds[-1][nodes - (self.n - len(self.seconds[-1]))] = seconds
        self.sent.append((nodes, self.channels.setdefault(channel, len(self.channels)), occupies))

    def run(self, memory: Memory | None = None) -> Floats | None:
        """The start of every node (NaN where none is due: on no lane and no channel); None on deadlock."""
        lane_of = np.full(self.n, -1, dtype=np.int64)
        for lane, nodes in enumerate(self.lanes):
            lane_of[nodes] = lane
        channel_of = np.full(self.n, -1, dtype=np.int64)
        occupies = np.full((self.n, 2), -1, dtype=np.int64)
        for nodes, channel, lanes in self.sent:
            channel_of[nodes] = channel
            for end, lane in enumerate(lanes):
                occupies[nodes, end] = lane
        before, after = joined(self.before), joined(self.after)
        start, ended = simulation(self.n)(
            np.concatenate(self.seconds),
            lane_of,
            *rows(self.lanes),
            channel_of,
            np.bincount(channel_of[channel_of >= 0], minlength=len(self.channels)),
            occupies,
            *compressed(before, after, self.n),
            np.bincount(after, minlength=self.n),
            *_memory_arrays(memory, self.n),
        )
        due = int((lane_of >= 0).sum() + (channel_of >= 0).sum())
        return start if ended == due else None


def _memory_arrays(memory: Memory | None, n: int) -> tuple[npt.NDArray[np.generic], ...]:
    """Memory as the simulation takes it; without any, no node needs some."""
    device = np.full(n, -1, dtype=np.int64)
    amount = np.zeros(n)
    place = np.full(n, -1, dtype=np.int64)  # in the sequence of its device
    free, groups, nodes = np.zeros(0), [], []
    given: list[tuple[int, int, float]] = []  # nodes to wait for, device, bytes
    if memory is not None:
        free = memory.free
        for needing, where, size in memory.needs:
            device[needing], amount[needing] = where, size
        for sequence in memory.sequence.values():
            place[np.asarray(sequence, dtype=np.int64)] = np.arange(len(sequence))
        for waits, where, size in memory.releases:
            first, count = len(given), len(waits[0])
            given += [(len(waits), where, size)] * count
            nodes += waits
            groups += [first + np.arange(count)] * len(waits)
    left, back_to, back = (np.array([row[k] for row in given]) for k in range(3))
    return (
        free,
        device,
        amount,
        place,
        *compressed(joined(nodes), joined(groups), n),
        left.astype(np.int64),
        back_to.astype(np.int64),
        back.astype(np.float64),
    )


def joined(parts: Sequence[Ints]) -> Ints:
    """One array of all."""
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
