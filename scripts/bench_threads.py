"""How much faster two threads search than one: the same evaluations on DeepSeek-V3, measured in turns in one run.

    .venv/bin/python scripts/bench_threads.py [--effort N | --seconds S] [--repeats R] [--threads T] [NAME...]

A solve that a limit of effort ends makes the same evaluations with any number of threads, and finds the same plan. So
evaluations a second compare as the seconds of the whole solve do: bounds and all that runs on one thread count. Ends
with 1 if plans differ. With --seconds the clock ends each solve: then evaluations in the same time compare, of which
the start of a search, with bounds and first placements, makes few.

Prints a line for each solve and for each config the ratio of the medians. `cores` is processor time over seconds: where
one thread has less than 1, or two have less than the ratio needs, others were using the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import planner
from planner.common.budget import Control
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.search.compiling import compile_if_needed

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
NAMES = ("deepseek-v3-h800", "deepseek-v3-h800-whole")
EFFORT = 24_000
"""About a minute on one thread."""


@dataclass(frozen=True)
class Timed:
    """One solve: its plan, its evaluations, and the seconds of the clock and of the processor."""

    plan: Plan
    evaluations: float
    seconds: float
    processor: float

    @property
    def rate(self) -> float:
        """Evaluations a second."""
        return self.evaluations / self.seconds

    def __str__(self) -> str:
        """A line of the output."""
        return (
            f"{self.evaluations:.0f} evaluations in {self.seconds:.1f} s, {self.rate:.4g} a second, "
            f"{self.processor / self.seconds:.2f} cores, makespan {self.plan.makespan:.6g} s"
        )


def timed(problem: Problem, effort: float, seconds: float, threads: int) -> Timed:
    """Solve with so much effort, or for so many seconds, on so many threads."""
    control = Control(seconds, effort=effort)
    begun, used = time.perf_counter(), time.process_time()
    plan = solve(problem, control, SolveOptions({}, threads=threads))
    return Timed(plan, control.spent, time.perf_counter() - begun, time.process_time() - used)


def main() -> int:
    """Measure each config in turns; 1 if the plans of one differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"configs to plan (default: {', '.join(NAMES)})")
    parser.add_argument("--effort", type=int, help=f"of each solve (default: {EFFORT})")
    parser.add_argument("--seconds", type=float, help="of each solve, without a limit of effort")
    parser.add_argument("--repeats", type=int, default=3, help="solves with each number of threads")
    parser.add_argument("--threads", type=int, default=2, help="compared with one")
    given = parser.parse_args()
    seconds = float("inf") if given.seconds is None else given.seconds
    effort = float("inf") if given.effort is None else float(given.effort)
    if given.seconds is None and given.effort is None:
        effort = float(EFFORT)
    compile_if_needed(Control())
    same = True
    for name in given.names or NAMES:
        config = CONFIGS / name
        runs: dict[int, list[Timed]] = {1: [], given.threads: []}
        for _ in range(given.repeats):
            for threads, made in runs.items():
                # read again each time: a problem keeps what has been computed from it
                problem = planner.read_problem(config / "graph.yaml", config / "cluster.yaml", copies=2)
                run = timed(problem, effort, seconds, threads)
                made.append(run)
                print(f"{name}, threads {threads}: {run}", flush=True)
        one, many = (statistics.median(run.rate for run in made) for made in runs.values())
        print(f"{name}: {many / one:.2f} times the evaluations a second on {given.threads} threads", flush=True)
        first = runs[1][0].plan
        same &= given.seconds is not None or all(
            run.plan.tasks == first.tasks for made in runs.values() for run in made
        )
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
