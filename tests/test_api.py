"""planner from Python: the functions, their errors, and what an import loads."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import planner
from planner import api

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "dualpipe-4x8"


def posed(**flags: Any) -> planner.Problem:
    return planner.read_problem(CONFIG / "graph.yaml", str(CONFIG / "cluster.yaml"), **flags)


def test_from_files_to_a_plan(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The five lines of the README: nothing is printed, and the file is the plan."""
    problem = posed(copies=2)
    plan = planner.solve(problem, time_limit=20, baselines=["dualpipe", "1f1b"])
    assert plan.makespan < planner.baseline("1f1b", problem).makespan
    assert planner.verify(plan, problem) == []
    plan.write(tmp_path / "plan.json")
    assert planner.read_plan(tmp_path / "plan.json") == plan
    assert plan.status == "optimal" and [row.name for row in plan.baselines] == ["1f1b", "dualpipe"]
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_same_plan_as_the_command_line(tmp_path: Path) -> None:
    """Same flags, same file, but for what the clock says."""
    from planner.commands.app import main

    files = [str(CONFIG / "graph.yaml"), str(CONFIG / "cluster.yaml")]
    flags = ["--effort", "500", "--memory-cap", "20 GB", "--baselines", "none", "--quiet"]
    assert main(["solve", *files, *flags, "-o", str(tmp_path / "plan.json")]) == 0
    mine = planner.solve(posed(memory_cap="20 GB"), time_limit=None, effort=500)
    assert replace(planner.read_plan(tmp_path / "plan.json"), solve_seconds=mine.solve_seconds) == mine
    assert main(["baseline", "dualpipe", *files, "--quiet", "-o", str(tmp_path / "plan.json")]) == 0
    mine = planner.baseline("dualpipe", posed())
    assert mine.options["copies"] == 2
    assert replace(planner.read_plan(tmp_path / "plan.json"), solve_seconds=mine.solve_seconds) == mine
    assert planner.verify(mine, posed()) == []


def test_other_objectives() -> None:
    """A limit in words; the figure of the objective with its bound."""
    plan = planner.solve(posed(), time_limit=5, objective="memory", max_makespan="40 s")
    (figure,) = plan.figures
    assert (figure.key, figure.unit) == ("memory", "bytes")
    assert figure.value is not None and figure.bound is not None and figure.bound <= figure.value


def test_a_broken_plan() -> None:
    problem = posed(microbatches=4)
    plan = planner.baseline("1f1b", problem)
    found = planner.verify(replace(plan, makespan=1.0, tasks=plan.tasks[1:]), problem)
    assert {planner.Rule.TASKS, planner.Rule.FIGURES} <= {violation.rule for violation in found}
    assert all(isinstance(violation, planner.Violation) for violation in found)
    assert str(found[0]).startswith("rule ")


def test_errors(tmp_path: Path) -> None:
    """The documented exceptions, each where it belongs."""
    with pytest.raises(planner.InputError, match=r"none\.yaml"):
        planner.read_problem(tmp_path / "none.yaml", CONFIG / "cluster.yaml")
    with pytest.raises(planner.InputError):
        planner.read_plan(tmp_path / "none.json")
    with pytest.raises(planner.Impossible, match="short"):
        planner.solve(posed(memory_cap=1), time_limit=5)
    config = ROOT / "configs" / "msr-bert24"
    hard = planner.read_problem(config / "graph.yaml", config / "cluster.yaml")
    with pytest.raises(planner.NoPlan):
        planner.solve(hard, time_limit=None, effort=1, objective="memory", max_makespan="126 ms")
    with pytest.raises(planner.NotApplicable, match="even"):
        planner.baseline("dualpipe", posed(microbatches=5))
    with pytest.raises(OSError, match="none"):
        planner.baseline("1f1b", posed()).write(tmp_path / "none" / "plan.json")


@pytest.mark.parametrize(
    "flags",
    [
        {"time_limit": 0},
        {"time_limit": "1 GB"},
        {"effort": 0},
        {"seed": -1},
        {"threads": 0},
        {"gap": 2},
        {"objective": "cost"},
        {"max_period": 1},
        {"baselines": ["2f2b"]},
    ],
)
def test_wrong_arguments_of_solve(flags: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(flags)) if "baselines" not in flags else "2f2b"):
        planner.solve(posed(), **flags)


@pytest.mark.parametrize(
    "flags",
    [
        {"microbatches": 0},
        {"microbatches": 10**7},
        {"copies": 0},
        {"memory_cap": "much"},
        {"layout": "round"},
        {"layout": "bidirectional"},
        {"layout": "linear", "chunks": 2},
        {"chunks": 0},
    ],
)
def test_wrong_arguments_of_read_problem(flags: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(flags))):
        posed(**flags)


def test_an_import_loads_nothing_heavy() -> None:
    code = "import sys, planner; assert 'numpy' not in sys.modules; planner.solve; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("first", ["planner.verification.check", "planner.files"])
def test_functions_win_over_packages_of_their_name(first: str) -> None:
    """``planner.verify`` is the function, whatever was imported before or comes after."""
    code = f"""
import {first}, planner
from planner.verification import verify_plan
import planner.verification.facts
from planner import verify
assert verify is planner.verify is planner.api.verify and callable(verify_plan)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_exported() -> None:
    """The package and ``planner.api`` list the same names, each documented; the version is the project's."""
    assert set(planner.__all__) == {*api.__all__, "__version__"}
    assert set(planner.__all__) <= set(dir(planner))
    for name in api.__all__:
        assert getattr(planner, name) is getattr(api, name)
        assert getattr(api, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        planner.nothing  # noqa: B018
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert planner.__version__ == project["project"]["version"]


def test_variants_are_restricted_and_recorded(tmp_path: Path) -> None:
    """``read_problem(variants=)`` and the options of the plan, which ``verify`` reads."""
    graph, cluster = tmp_path / "graph.yaml", tmp_path / "cluster.yaml"
    graph.write_text(
        "schema: planner/graph@1\nmicrobatches: 2\noperators:\n"
        "  - {name: a, time: {forward: 1}, activation: 4,\n"
        "     variants: [{name: lean, time: {input_grad: 2}, activation: 1}]}\n"
    )
    cluster.write_text("schema: planner/cluster@1\ndevice_types: {g: {}}\ndevices: [{name: g, type: g}]\n")
    problem = planner.read_problem(graph, cluster, variants=["lean"])
    plan = planner.solve(problem, time_limit=None, effort=50)
    assert [placed.variant for placed in plan.placement] == ["lean"]
    assert plan.options["variants"] == ["lean"]
    assert planner.verify(plan, problem) == []
    free = planner.solve(planner.read_problem(graph, cluster), time_limit=None, effort=50)
    assert "variants" not in free.options
    assert [placed.variant for placed in free.placement] == ["base"]
    assert planner.baseline("gpipe", problem).placement[0].variant == "lean"
