"""``planner.sweep``: the rows of the command, on an executor of the calling program."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sweep_runs import FILES, rows, swept, without_clock

import planner


def test_the_rows_of_the_command_on_threads_of_this_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = swept(
        tmp_path / "command", "--memory-cap", "1,7,9", "--copies", "2", "--effort", "30", "--baselines", "none"
    )
    with ThreadPoolExecutor(2) as pool:
        found = planner.sweep(
            *FILES, tmp_path / "python", executor=pool, memory_cap=[1, 7, 9], copies=2, effort=30, time_limit=None
        )
        assert pool.submit(int, "3").result() == 3, "it is its owner's to shut down"
    assert [row.plan is None for row in found] == [True, False, False] and "infeasible" in found[0].reason
    mine = [{**row, "baselines": []} for row in without_clock(rows(tmp_path / "python"))]
    assert mine == without_clock(command)
    assert (tmp_path / "python" / "frontier.svg").is_file()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_arguments_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown flag frob; known are baselines, chunks"):
        planner.sweep(*FILES, tmp_path / "out", frob=1)
    with pytest.raises(ValueError, match="exclude each other"):
        planner.sweep(*FILES, tmp_path / "out", processes=1, dask="tcp://127.0.0.1:1")
    with pytest.raises(ValueError, match="copies lists no value"):
        planner.sweep(*FILES, tmp_path / "out", copies=[])
    with pytest.raises(ValueError, match="layout bidirectional"):
        planner.sweep(*FILES, tmp_path / "out", layout=["linear", "bidirectional"])
    with pytest.raises(ValueError, match=r"Dask is not installed|no Dask scheduler answers"):
        planner.sweep(*FILES, tmp_path / "out", dask="tcp://127.0.0.1:1", effort=3)
    assert not (tmp_path / "out").exists()
