"""Placement by earliest finish, for steps of few microbatches, where the latency of one matters most.

Heterogeneous earliest finish time (Topcuoglu et al., 2002): operators in order of their longest remaining path, each
to the device on which its forward pass ends first, transfers and busy streams counted.
"""

from __future__ import annotations

import numpy as np

from planner.problem import Placement, Problem


def earliest_finish_placement(problem: Problem) -> Placement:
    """A placement of one copy; memory is counted as parameters and one activation of each operator."""
    mean = np.where(problem.runs_on[:, None, :], problem.duration, np.nan)
    forward = np.nanmean(mean, axis=2)[:, 0]
    rank = np.zeros(problem.n_operators)
    for i in reversed(problem.topological):
        rank[i] = forward[i] + max((rank[j] for j in problem.consumers[i]), default=0.0)
    where = [-1] * problem.n_operators
    end = np.zeros(problem.n_operators)
    free = np.zeros((problem.n_devices, 2))
    used = np.zeros(problem.n_devices)
    group_of = {i: members for members in problem.groups for i in members}
    position = {i: k for k, i in enumerate(problem.topological)}
    for i in sorted(range(problem.n_operators), key=lambda i: (-rank[i], position[i])):
        placed = [where[j] for j in group_of[i] if where[j] >= 0]
        allowed = placed[:1] or [d for d in range(problem.n_devices) if problem.runs_on[list(group_of[i]), d].all()]
        size = problem.parameters[i] + problem.activation[i]
        roomy = [d for d in allowed if used[d] + size <= problem.cap_with_slack[d]] or allowed

        def finish(d: int, i: int = i) -> tuple[float, int]:
            ready = max(
                (end[j] + (0.0 if where[j] == d else problem.transfer(j, where[j], d)) for j in problem.inputs[i]),
                default=0.0,
            )
            return float(max(ready, free[d, int(problem.on_comm[i])]) + problem.duration[i, 0, d]), d

        when, d = min(finish(d) for d in roomy)
        where[i], end[i] = d, when
        free[d, int(problem.on_comm[i])] = when
        used[d] += size
    return Placement.single(where, "earliest finish")
