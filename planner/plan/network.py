"""An event-driven simulation: nodes on lanes in a fixed order, nodes on channels first ready first served.

The nodes are tasks, or whole calls for schedules that run them as one block, and the transfers between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush


@dataclass
class Memory:
    """What a replay under caps keeps count of; a node holds its ``needs`` until its releases have come.

    Release group g gives ``amount[g]`` back to ``device[g]`` when all of its ``waits[g]`` nodes have ended.
    ``sequence`` fixes the order in which a device's nodes may allocate, where it names them. The lanes of
    device d are 2d and 2d + 1.
    """

    free: list[float]
    needs: dict[int, tuple[int, float]] = field(default_factory=dict)
    groups_of: dict[int, list[int]] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)
    amount: list[float] = field(default_factory=list)
    device: list[int] = field(default_factory=list)
    sequence: Mapping[int, Sequence[int]] = field(default_factory=dict)

    def release_after(self, nodes: Sequence[int], device: int, amount: float) -> None:
        """Give ``amount`` back once all ``nodes`` have ended."""
        for node in nodes:
            self.groups_of.setdefault(node, []).append(len(self.waits))
        self.waits.append(len(nodes))
        self.amount.append(amount)
        self.device.append(device)


class Network:
    """Nodes with lengths and precedence. A node on a lane waits for its turn, one on a channel for a gap.

    Lanes are numbered from 0 and run their nodes in exactly the order given. A channel (a pair of devices)
    serves the first that is ready, ties in order of node number. A node on a channel may also ``occupy``
    lanes: then it goes before the next node in the order of each, which waits for it (so nothing deadlocks:
    where nothing runs, every lane is idle and the first ready transfer can go).
    """

    def __init__(self, n_lanes: int) -> None:
        self.lanes: list[Sequence[int]] = [()] * n_lanes
        self.seconds: list[float] = []
        self.followers: list[list[int]] = []
        self.missing: list[int] = []
        self.channel: dict[int, tuple[int, int]] = {}
        self.occupies: dict[int, tuple[int, ...]] = {}

    def add(self, seconds: Iterable[float]) -> None:
        """Add nodes of these lengths; they are numbered on."""
        before = len(self.seconds)
        self.seconds.extend(seconds)
        added = len(self.seconds) - before
        self.followers.extend([] for _ in range(added))
        self.missing.extend([0] * added)

    def precede(self, before: int, after: int) -> None:
        """``after`` starts no earlier than ``before`` ends."""
        self.followers[before].append(after)
        self.missing[after] += 1

    def add_transfer(
        self,
        channel: tuple[int, int],
        seconds: float,
        before: Iterable[int],
        after: Iterable[int],
        occupies: tuple[int, ...] = (),
    ) -> int | None:
        """A transfer from ``before`` to ``after``; without length it is mere precedence and has no node."""
        if seconds <= 0.0:
            followers = list(after)
            for a in before:
                for b in followers:
                    self.precede(a, b)
            return None
        node = len(self.seconds)
        self.add((seconds,))
        self.channel[node] = channel
        if occupies:
            self.occupies[node] = occupies
        for a in before:
            self.precede(a, node)
        for b in after:
            self.precede(node, b)
        return node

    def run(self, memory: Memory | None = None) -> list[float] | None:
        """The start of every node (NaN where none is due: on no lane and no channel); None on deadlock."""
        return _Run(self, memory).starts()


class _Run:
    """One simulation: the state of lanes, channels and memory, and the events to come."""

    def __init__(self, network: Network, memory: Memory | None) -> None:
        self.net = network
        self.start = [math.nan] * len(network.seconds)
        self.missing = list(network.missing)
        self.lane_of = [-1] * len(network.seconds)
        for lane, nodes in enumerate(network.lanes):
            for node in nodes:
                self.lane_of[node] = lane
        self.turn = [0] * len(network.lanes)  # position of the next node of each lane
        self.idle = [True] * len(network.lanes)
        self.claimed = [0] * len(network.lanes)  # ready transfers that a lane has to let go first
        self.touched: list[int] = list(range(len(network.lanes)))
        self.queues: dict[tuple[int, int], list[tuple[float, int]]] = {}
        self.serving: set[tuple[int, int]] = set()
        self.waiting: set[tuple[int, int]] = set()  # channels that may start a transfer now
        self.events: list[tuple[float, int]] = []
        self.memory = memory
        if memory is not None:
            self.free = list(memory.free)
            self.waits = list(memory.waits)
            self.next_allocation = dict.fromkeys(memory.sequence, 0)
            self.sequenced = {node for nodes in memory.sequence.values() for node in nodes}

    def starts(self) -> list[float] | None:
        due = len(self.net.channel) + sum(len(nodes) for nodes in self.net.lanes)
        events, now, ended = self.events, 0.0, 0
        for node in self.net.channel:
            if self.missing[node] == 0:
                self._queue(node, now)
        while True:
            if self.waiting:
                self._start_transfers(now)
            self._start_tasks(now)
            if not events:
                return self.start if ended == due else None
            now = events[0][0]
            while events and events[0][0] == now:
                self._end(heappop(events)[1], now)
                ended += 1

    def _end(self, node: int, now: float) -> None:
        lane = self.lane_of[node]
        if lane >= 0:
            self.idle[lane] = True
            self.touched.append(lane)
        else:
            channel = self.net.channel[node]
            self.serving.discard(channel)
            if self.queues[channel]:
                self.waiting.add(channel)
            for occupied in self.net.occupies.get(node, ()):
                self.idle[occupied] = True
                self.touched.append(occupied)
        missing = self.missing
        for follower in self.net.followers[node]:
            missing[follower] -= 1
            if missing[follower] == 0:
                lane = self.lane_of[follower]
                if lane >= 0:
                    self.touched.append(lane)
                else:
                    self._queue(follower, now)
        if self.memory is not None:
            self._release(node)

    def _queue(self, node: int, now: float) -> None:
        channel = self.net.channel[node]
        heappush(self.queues.setdefault(channel, []), (now, node))
        self.waiting.add(channel)
        for lane in self.net.occupies.get(node, ()):
            self.claimed[lane] += 1

    def _start_transfers(self, now: float) -> None:
        # Heads of the queues, the longest ready first: several may want the same exclusive device.
        heads = sorted((self.queues[c][0], c) for c in self.waiting if c not in self.serving)
        for (_, node), channel in heads:
            occupied = self.net.occupies.get(node, ())
            if not all(self.idle[lane] for lane in occupied):
                continue
            heappop(self.queues[channel])
            self.waiting.discard(channel)
            self.serving.add(channel)
            for lane in occupied:
                self.idle[lane] = False
                self.claimed[lane] -= 1
            self.start[node] = now
            heappush(self.events, (now + self.net.seconds[node], node))
        self.waiting -= self.serving

    def _start_tasks(self, now: float) -> None:
        touched, turn, idle = self.touched, self.turn, self.idle
        while touched:
            lane = touched.pop()
            nodes = self.net.lanes[lane]
            if not idle[lane] or self.claimed[lane] or turn[lane] == len(nodes):
                continue
            node = nodes[turn[lane]]
            if self.missing[node] or (self.memory is not None and not self._allocate(node)):
                continue
            idle[lane] = False
            turn[lane] += 1
            self.start[node] = now
            heappush(self.events, (now + self.net.seconds[node], node))

    def _allocate(self, node: int) -> bool:
        assert self.memory is not None
        need = self.memory.needs.get(node)
        if need is None:
            return True
        device, amount = need
        if node in self.sequenced:
            at = self.next_allocation[device]
            if self.memory.sequence[device][at] != node:
                return False
        if amount > self.free[device]:
            return False
        self.free[device] -= amount
        if node in self.sequenced:
            self.next_allocation[device] += 1
            self._touch_device(device)
        return True

    def _release(self, node: int) -> None:
        assert self.memory is not None
        for group in self.memory.groups_of.get(node, ()):
            self.waits[group] -= 1
            if self.waits[group] == 0:
                device = self.memory.device[group]
                self.free[device] += self.memory.amount[group]
                self._touch_device(device)

    def _touch_device(self, device: int) -> None:
        self.touched += (2 * device, 2 * device + 1)
