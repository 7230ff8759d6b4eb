"""The rivals' models against every order of tiny problems. Needs OR-Tools: `.ci/run` calls it by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from exhaustive import Search, tasks_of

from racing.cases import STAGES, VSHAPE, Case, both_ways, cases, pipeline
from racing.course import race
from racing.problem import read, write
from racing.shop import copies_of, placement_of

MODELS = ("cpsat", "cpsat-ordered", "bigm")
TINY = (
    both_ways("copies", "tiny", 2, 2),
    both_ways("copies-latency", "tiny", 2, 2, times=(1, 1.2, 0.8), latency=0.1),
    both_ways("copies-tight", "tiny", 2, 4, 2),
    pipeline("stages-tight", "tiny", 2, 3, 3, ("--layout", "linear"), STAGES, times=(1, 2, 1), latency=0.5),
    pipeline("there-and-back", "tiny", 4, 2, 5, ("--layout", "vshape"), VSHAPE, times=(2, 1, 1), devices=2),
)


def optimum(case: Case, folder: Path) -> float:
    """By looking at every order."""
    write(case, folder)
    problem = read(folder, case.flags)
    placement = placement_of(case.placement, problem)
    assert placement is not None
    tasks = tasks_of(problem, placement.device_of, copies_of(problem, placement))
    return Search(problem, placement.device_of, tasks, float("inf")).run()


@pytest.mark.parametrize("case", TINY, ids=[case.name for case in TINY])
def test_pipelines(case: Case, tmp_path: Path) -> None:
    best = optimum(case, tmp_path)
    for model, run in race(case, MODELS, dict.fromkeys(MODELS, 20.0)).items():
        assert run["status"] == "optimal", model
        assert run["incumbents"][-1][1] == pytest.approx(best), model
        assert run["bounds"][-1][1] == pytest.approx(best), model


@pytest.mark.parametrize("name", ["sfjs05", "sfjs10", "ft06", "mfjs01"])
def test_job_shops(name: str) -> None:
    case = next(case for case in cases() if case.name == name)
    for model, run in race(case, MODELS, dict.fromkeys(MODELS, 30.0)).items():
        assert run["incumbents"][-1][1] == case.known, model
        assert run["status"] == "optimal" or model == "bigm", model


@pytest.mark.parametrize("name", ["little-2", "little-4", "diamond"])
def test_general_problems(name: str) -> None:
    """The whole course: ours with one thread, and the interval model of the whole problem."""
    case = next(case for case in cases() if case.name == name)
    runs = race(case, ("ours", "cpsat"), {"ours": 30.0, "cpsat": 30.0})
    assert runs["cpsat"]["status"] == runs["ours"]["status"] == "optimal"
    assert runs["cpsat"]["incumbents"][-1][1] == runs["ours"]["makespan"] == runs["ours"]["lower_bound"]
