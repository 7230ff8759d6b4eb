"""How fast ``planner simulate`` replays: 1000 runs of a plan with about 1,000 tasks, and of larger ones.

    .venv/bin/python scripts/simulate_speed.py [--runs 1000]

Prints a line for each plan: tasks, transfers, seconds to build its graph of events, seconds for all runs. Ends with 1
if the plan of about 1,000 tasks takes 5 seconds or more. The plans are ZB1P on a chain of operators, generated here.
"""

from __future__ import annotations

import argparse
import sys
import time

from planner.baselines import baseline_timetable
from planner.events import events_of
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Cluster, Device, DeviceType, Graph, Mode, NetworkLevel, Operator, Pass, Problem
from planner.simulate import Disturbance, simulate

SIZES = ((8, 8, 42), (8, 32, 68), (16, 64, 260))
"""Devices, operators, microbatches: about 1,000, 6,500 and 50,000 tasks."""
LIMIT = 5.0


def made(devices: int, operators: int, microbatches: int) -> tuple[Problem, Plan]:
    kind = DeviceType("unit")
    cluster = Cluster(
        "units",
        tuple(Device(f"gpu{d}", "gpu", kind) for d in range(devices)),
        {"unit": kind},
        within_node=NetworkLevel(None, 0.1),
    )
    times = {Pass.F: 1.0, Pass.I: 1.2, Pass.W: 0.8}
    chain = tuple(Operator(f"s{k}", times, (f"s{k - 1}",) if k else ()) for k in range(operators))
    problem = Problem(Graph("chain", Mode.TRAINING, microbatches, chain), cluster, microbatches)
    plan = build_plan(
        problem,
        baseline_timetable("zb1p", problem),
        origin="baseline:zb1p",
        status="feasible",
        lower_bound=None,
        placement_lower_bound=None,
        options={},
        solve_seconds=0.0,
    )
    return problem, plan


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="replays of each plan")
    runs = parser.parse_args().runs
    first = 0.0
    for size in SIZES:
        problem, plan = made(*size)
        begun = time.perf_counter()
        events = events_of(plan, problem)
        built = time.perf_counter()
        outcome = simulate(events, plan.makespan, Disturbance(0.1), runs, 0)
        ended = time.perf_counter()
        first = first or ended - begun
        print(
            f"{len(plan.tasks):6} tasks, {len(plan.transfers):6} transfers: events {built - begun:5.2f} s, "
            f"{runs} runs {ended - built:5.2f} s, mean slowdown {outcome.slowdown:.3f}"
        )
    return 0 if first < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
