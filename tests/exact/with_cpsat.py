"""`solve` against CP-SAT on the whole problem, at sizes that looking at everything cannot reach.

Needs OR-Tools: `.ci/run` calls it by name, and it knows no skip. CP-SAT runs in a process of its own, since OR-Tools
and HiGHS cannot be loaded into one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from solver_problems import random_problem

import planner
from planner.problem import Impossible, Problem, Step
from racing import whole
from racing.course import check, judge, watch

PARTS, EACH = 12, 5
SECONDS = 3.0
"""The limit of each; most problems are proven in less than one."""


@dataclass(frozen=True)
class Answer:
    """What a solver says: makespan (inf: no plan), bound (inf: there is none), whether the two are proven the same."""

    makespan: float
    bound: float

    @property
    def proven(self) -> bool:
        return self.bound >= self.makespan * (1 - 1e-6)

    @property
    def impossible(self) -> bool:
        return math.isinf(self.bound)


def ours(problem: Problem) -> Answer:
    """The plan of `solve`, which has verified it."""
    try:
        plan = planner.solve(problem, time_limit=SECONDS, threads=1)
    except Impossible:
        return Answer(math.inf, math.inf)
    except planner.NoPlan:
        return Answer(math.inf, 0.0)
    return Answer(plan.makespan, plan.lower_bound or 0.0)


def theirs(problem: Problem, folder: Path) -> Answer:
    """CP-SAT's answer; its schedule must pass the verification of ours."""
    tables = whole.build(problem)
    (folder / "whole.json").write_text(tables.to_json(), encoding="utf-8")
    run = watch(judge(folder / "whole.json", SECONDS), SECONDS)
    assert run["status"] in ("optimal", "feasible", "infeasible", "unknown"), run
    if run["status"] == "infeasible":
        return Answer(math.inf, math.inf)
    makespan = run["incumbents"][-1][1] if run["incumbents"] else math.inf
    if "whole" in run and run["whole"] is not None:
        check(problem, whole.timetable(problem, tables, run["whole"]), makespan)
    return Answer(makespan, run["bounds"][-1][1] if run["bounds"] else 0.0)


def problems(part: int) -> list[tuple[int, Problem]]:
    """Problems of four to seven operators whose times have a common step."""
    found: list[tuple[int, Problem]] = []
    seed = part * 1_000
    while len(found) < EACH:
        seed += 1
        problem = random_problem(
            seed, operators=7, devices=3, microbatches=(2, 3, 4, 5), copies=(1, 1, 2), instant=False
        )
        if problem is None or problem.n_operators < 4 or problem.n_devices < 2 or Step.of(problem).seconds is None:
            continue
        found.append((seed, problem))
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_no_bound_is_above_the_other_s_plan(part: int, tmp_path: Path) -> None:
    """Where both prove, the makespans are the same, and what one proves impossible is impossible for the other."""
    proven = 0
    for seed, problem in problems(part):
        mine, judged = ours(problem), theirs(problem, tmp_path)
        says = f"seed {seed}: {mine} {judged}"
        assert mine.bound <= judged.makespan * (1 + 1e-6), says
        assert mine.makespan >= judged.bound * (1 - 1e-6), says
        if mine.impossible or judged.impossible:
            assert math.isinf(mine.makespan) and math.isinf(judged.makespan), says
        elif mine.proven and judged.proven:
            assert mine.makespan == pytest.approx(judged.makespan, rel=1e-6), says
        proven += mine.proven and judged.proven
    assert proven, "a comparison of proofs, not only of plans"
