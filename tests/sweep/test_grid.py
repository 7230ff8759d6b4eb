"""Lists and ranges of options: the grid that they make, and one clear error for each value that is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from planner.commands.app import main
from planner.commands.grid import Grid, places
from planner.commands.solve import SolveFlags
from planner.files.flag_values import UsageFault


def solves(**texts: str) -> list[SolveFlags]:
    return places(Grid(**texts), "g", "c", False)


def values(name: str, text: str) -> list[Any]:
    return [getattr(each, name) for each in solves(**{name: text})]


def test_the_grid_is_the_product_in_the_order_of_the_options() -> None:
    found = [(each.microbatches, each.copies, each.memory_cap) for each in solves(memory_cap="2,1", microbatches="8,4")]
    assert found == [(8, 1, "2"), (8, 1, "1"), (4, 1, "2"), (4, 1, "1")]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("microbatches", "16,32,64", [16, 32, 64]),
        ("microbatches", "4:10:3,32", [4, 7, 10, 32]),
        ("microbatches", "4:9:3", [4, 7]),
        ("memory_cap", "40GiB:56GiB:8GiB", [str(n * 2**30) for n in (40, 48, 56)]),
        ("memory_cap", "1 GB, 2 GB", ["1 GB", "2 GB"]),
        ("time_limit", "0.5:2:500 ms", ["0.5", "1", "1.5", "2"]),
        ("gap", "0.1:0.3:0.1", ["0.1", "0.2", "0.3"]),
        ("max_bubble", "5%:10%:5%", ["0.05", "0.1"]),
        ("copies", "2,2,1", [2, 1]),
        ("baselines", "none;1f1b,zbv", ["none", "1f1b,zbv"]),
        ("variants", "base,recompute", ["base,recompute"]),
        ("layout", "linear,wave", ["linear", "wave"]),
    ],
)
def test_lists_and_ranges(name: str, text: str, expected: list[Any]) -> None:
    assert values(name, text) == expected


def test_defaults_are_those_of_solve_but_for_the_threads() -> None:
    (alone,) = solves()
    assert alone.threads == 1 and SolveFlags(*"gc").threads is None  # type: ignore[arg-type]
    assert (alone.copies, alone.baselines, alone.gap, alone.seed) == (1, "all", "1e-6", 0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("microbatches", "0", "Invalid value for '--microbatches'"),
        ("microbatches", "8,x", "'x' is not a valid int"),
        ("microbatches", "1:x:2", "--microbatches: 'x' is not a whole number"),
        ("memory_cap", "8:4:1", "ends before it begins"),
        ("memory_cap", "4:8:0", "no step above 0"),
        ("memory_cap", "4:8 parsec:1", "--memory-cap"),
        ("layout", "circle", "Invalid value for '--layout'"),
        ("layout", "a:b:c", "Invalid value for '--layout'"),
        ("seed", "0:20000:1", "20,001 values"),
    ],
)
def test_errors_are_those_of_solve(name: str, text: str, message: str) -> None:
    with pytest.raises(Exception) as caught:
        solves(**{name: text})
    found: Any = caught.value
    assert message in (str(found) if isinstance(found, UsageFault) else found.format_message())


def test_a_grid_that_is_too_large() -> None:
    with pytest.raises(UsageFault, match="the grid has 10,100 points"):
        solves(seed="0:100:1", copies="1:100:1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--copies", "1,0"], "'--copies'"),
        (["--layout", "bidirectional"], "layout bidirectional runs two copies"),
        (["--max-makespan", "3"], "--max-makespan goes with --objective"),
        (["--beat", "1f1b,nothing"], "unknown baseline 'nothing'"),
        (["--memory-limit", "0"], "--memory-limit must be above 0"),
        (["--dask", "tcp://127.0.0.1:1", "--processes", "2"], "exclude each other"),
        (["--memory-cap", "much"], "--memory-cap"),
        (["--frob", "1"], "No such option"),
    ],
)
def test_a_bad_command_line_is_one_line_and_leaves_nothing(
    files: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *files, "-o", "out", *flags]) == 2
    said = capsys.readouterr()
    assert message in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not Path("out").exists()
