"""The number of threads changes how long a search takes, never its plan."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from random_steps import recomputed
from solver_problems import chain, config, posed, random_problem, unit_cluster

from planner.common.budget import Control
from planner.common.threads import MOST, default_threads, side_by_side
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import plan_to_json
from planner.problem import Pass, Problem
from planner.search import SearchParams


def rows(problem: Problem, effort: float, threads: int, **options: Any) -> Any:
    """The plan, but for the seconds that it took."""
    given = SolveOptions({}, threads=threads, params=SearchParams.for_tests(), **options)
    found = json.loads(plan_to_json(solve(problem, Control(math.inf, effort=effort), given)))
    del found["solve_seconds"]
    return found


def whole(operators: int, microbatches: int, copies: int) -> Problem:
    """A chain with what comes once a step, each operator with a recomputed variant, on three devices."""
    step = {Pass.R: 2.0, Pass.U: 1.0}
    made = chain(operators, activation=2.0, parameters=1.0, step=step)
    some = tuple(recomputed(operator) for operator in made)
    return posed(*some, devices=unit_cluster(3, 16.0), microbatches=microbatches, copies=copies)


@pytest.mark.parametrize(
    ("problem", "effort", "several", "options"),
    [
        (lambda: config("deepseek-v3-units", copies=2, microbatches=10), 200, (3,), {}),
        (lambda: random_problem(3, operators=6, devices=3, copies=(2,)), 2_500, (2, 3), {}),
        (lambda: whole(5, 4, 2), 600, (2, 3), {}),
        (lambda: whole(20, 44, 1), 125, (3,), {}),
        (lambda: config("dualpipe-4x8"), 1_000, (2, 3), {"runtime": "megatron"}),
        (lambda: config("pipedream-gnmt"), 10, (3,), {"objective": "period"}),
    ],
    ids=["pipeline", "general", "whole step", "many tasks and variants", "runtime", "period"],
)
def test_the_same_plan_with_any_number_of_threads(
    problem: Callable[[], Problem], effort: float, several: tuple[int, ...], options: dict[str, Any]
) -> None:
    """Where effort ends the search: one thread, two and three; of problems that take seconds, one and three."""
    alone = rows(problem(), effort, 1, **options)
    for threads in several:
        assert rows(problem(), effort, threads, **options) == alone


def test_a_stop_reaches_all_threads() -> None:
    """Asked to stop in the middle of walkers side by side, a search ends within seconds, with a plan."""
    control = Control(math.inf)
    threading.Timer(6.0, control.stop_requested.set).start()
    problem = config("deepseek-v3-units", copies=2)
    plan = solve(problem, control, SolveOptions({}, threads=3))
    assert plan.status == "interrupted" and control.spent > 0
    assert control.elapsed < 6.0 + 10.0


def test_side_by_side() -> None:
    """Results in the order of the items, at most so many at once."""
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02 / (1 + item))
        with lock:
            running -= 1
        return item * item

    assert side_by_side(work, range(6), 3) == [0, 1, 4, 9, 16, 25]
    assert most == 3


def test_all_cores_but_no_more_than_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process may use counts, not what the machine has."""
    for cores, threads in ((1, 1), (3, 3), (8, 8), (64, MOST)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert default_threads() == threads
