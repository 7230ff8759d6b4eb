"""Replays of a graph of events, one node after the other."""

from __future__ import annotations

import numpy as np

from planner.events import Events


def replayed(events: Events, delay: np.ndarray) -> np.ndarray:
    """The starts of all nodes, each as early as it may be plus a delay: one node after the other, edge by edge."""
    starts = np.zeros(events.nodes.n)
    waits: dict[int, list[int]] = {}
    for k, after in enumerate(events.after.tolist()):
        waits.setdefault(after, []).append(k)
    for node in events.order.tolist():
        begin = 0.0
        for k in waits.get(node, ()):
            before = events.before[k]
            begin = max(begin, starts[before] + (0.0 if events.from_start[k] else events.seconds[before]))
        starts[node] = begin + events.hold[node] + delay[node]
    return starts
