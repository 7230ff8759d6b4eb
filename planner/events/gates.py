"""Rules of baselines beyond those of a plan: actions that run as one block, gradients that leave late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.events.edges import Edges, Wait
from planner.events.nodes import Ints, Nodes


@dataclass(frozen=True)
class Gates:
    """For each task, up to two other tasks (one per stream, -1: none) that must also end first.

    ``leaves[task]``: before the output of the task leaves its device. ``starts[task]``: before the task starts.
    """

    leaves: Ints  # (tasks, 2)
    starts: Ints  # (tasks, 2)


def gate_edges(nodes: Nodes, edges: Edges, gates: Gates) -> None:
    """Add edges for the gates that the plan keeps, after those of precedence."""
    before, after, wait, _ = edges.arrays()
    made = (wait == Wait.INPUT) & (before < nodes.n_tasks)
    leaving = made & ((after >= nodes.n_tasks) | (nodes.device[after] != nodes.device[before]))
    tasks = np.arange(nodes.n_tasks)
    for stream in (0, 1):
        _add(nodes, edges, gates.leaves[before[leaving], stream], after[leaving])
        _add(nodes, edges, gates.starts[:, stream], tasks)


def _add(nodes: Nodes, edges: Edges, before: Ints, after: Ints) -> None:
    takes_time = nodes.end[before] > nodes.start[before]
    kept = takes_time & (nodes.end[before] <= nodes.start[after] + nodes.tolerance)
    edges.add(np.where((before >= 0) & kept, before, -1), after, Wait.HELD)
