"""The registry of objectives: what the command line and verify know of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields

import pytest

from planner.commands.app import main
from planner.objectives.options import SolveOptions
from planner.objectives.registry import OBJECTIVES, objectives_with
from planner.verification import bounds


def test_every_objective_is_whole() -> None:
    """Its name is its key, and its limits are limits of the options."""
    limits = {field.name for field in fields(SolveOptions) if field.name.startswith("max_")}
    for name, objective in OBJECTIVES.items():
        assert objective.name == name and objective.help
        assert set(objective.options) <= limits
    assert tuple(OBJECTIVES) == bounds.OBJECTIVES
    assert limits == {limit for limit in limits if objectives_with(limit)}


def test_the_command_line_takes_names_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong name, and a limit that does not go with the objective."""
    assert main(["solve", "graph.yaml", "cluster.yaml", "--objective", "cost"]) == 2
    complaint = capsys.readouterr().err
    assert all(name in complaint for name in OBJECTIVES)
    for objective in OBJECTIVES.values():
        for limit in ("max_makespan", "max_period"):
            flag = f"--{limit.replace('_', '-')}"
            assert main(["solve", "none.yaml", "none.yaml", "--objective", objective.name, flag, "1"]) == 2
            goes_with = f"{flag} goes with --objective" not in capsys.readouterr().err
            assert goes_with == (limit in objective.options)


def test_it_loads_no_solver() -> None:
    """The command line reads it for its help."""
    loaded = "import sys, planner.objectives.registry; assert not {'numpy', 'numba', 'highspy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", loaded], check=True)
