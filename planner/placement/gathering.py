"""What ``auto`` cuts besides the topological order, if labels prevent good cuts of that."""

from __future__ import annotations

import numpy as np

from planner.problem import Problem
from planner.problem.segments import Segment, gathered


def gathered_segments(problem: Problem) -> list[tuple[Segment, ...]]:
    """Sequences of segments, every label in one of them, that are no topological order.

    If a label's operators are far apart, they all go where one of them is, and those between need not go there (see
    ``segments.gathered``). If labels are entangled, so that a long segment is left, also the labels by depth. Stages
    cut from these belong to no layout. Empty where every label is a segment of its own.
    """
    work = np.where(problem.runs_on[:, None, :], problem.duration, np.inf).min(axis=2).sum(axis=1)
    whole = set(map(frozenset, problem.groups))
    if all(frozenset(segment) in whole for segment in problem.segments.joined):
        return []
    found = gathered(problem.segments, work.tolist())
    if not all(len(segment) == 1 or frozenset(segment) in whole for segment in problem.segments.loose):
        found.insert(0, _by_depth(problem, work))
    return found


def _by_depth(problem: Problem, work: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[Segment, ...]:
    """The labels by their mean depth, weighted by work: 0 at the sources of the graph, 1 at its sinks."""
    above, below = np.zeros(problem.n_operators), np.zeros(problem.n_operators)
    for i in problem.topological:
        above[i] = max((above[j] + 1.0 for j in problem.inputs[i]), default=0.0)
    for i in reversed(problem.topological):
        below[i] = max((below[j] + 1.0 for j in problem.consumers[i]), default=0.0)
    depth = above / np.maximum(above + below, 1.0)
    weight = work + 1e-9 * max(float(work.max()), 1e-300)  # operators without work count, too, where all are such
    place = {i: k for k, i in enumerate(problem.topological)}
    rows = [
        (float((depth[[*g]] * weight[[*g]]).sum() / weight[[*g]].sum()), min(place[i] for i in g), g)
        for g in problem.groups
    ]
    return tuple(members for _, _, members in sorted(rows))
