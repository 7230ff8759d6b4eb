"""Compile the kernels once, right after installation, so that the first plan does not wait for them."""

from __future__ import annotations

import numpy as np

from planner.baselines import baseline_timetable
from planner.control import Control
from planner.problem import Cluster, Device, DeviceType, Graph, Mode, Operator, Pass, Placement, Problem
from planner.schedule.search import ListSearch


def main() -> None:
    """Schedule two operators; numba keeps the machine code beside the source (or in its cache directory)."""
    kind = DeviceType("any")
    operators = (
        Operator("a", dict.fromkeys(Pass, 1.0), activation=1.0, held_for_weight_grad=1.0),
        Operator("b", dict.fromkeys(Pass, 1.0), inputs=("a",), activation=1.0, held_for_weight_grad=1.0),
    )
    problem = Problem(
        Graph("warm-up", Mode.TRAINING, 2, operators), Cluster("one", (Device("d", "d", kind),), {"any": kind}), 2
    )
    search = ListSearch.of(problem, Placement.single([0, 0]), seed=0)
    search.try_known_rules(Control())
    assert np.isfinite(search.makespan)
    assert np.isfinite(baseline_timetable("1f1b", problem).makespan(problem))  # compiles the replay


if __name__ == "__main__":
    main()
