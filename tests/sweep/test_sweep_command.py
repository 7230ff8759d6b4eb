"""``planner sweep`` as a process: rows, files, thresholds, Ctrl-C and going on, the same from 1 and 2 processes."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from sweep_runs import FILES, ROOT, command, environment, plans, rows, swept, without_clock

from planner.commands.app import main

GRID = ["--memory-cap", "1,3,7,11", "--copies", "1,2", "--effort", "30", "--baselines", "1f1b,dualpipe"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep on two processes. A cap of 1 is too little for a stage and one activation."""
    made = tmp_path_factory.mktemp("two") / "sweep"
    swept(made, *GRID, "--processes", "2")
    return made


def test_the_same_rows_and_plans_from_one_process(folder: Path, tmp_path: Path) -> None:
    one = swept(tmp_path / "one", *GRID, "--processes", "1")
    assert without_clock(one) == without_clock(rows(folder))
    assert plans(tmp_path / "one") == plans(folder)


def test_rows_are_complete_and_plans_verify(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(folder)
    assert [(row["copies"], row["memory_cap"]) for row in found] == [
        (k, float(c)) for k in (1, 2) for c in (1, 3, 7, 11)
    ]
    for row in found:
        assert (row["makespan"] is None) == bool(row["reason"]) == (row["plan"] is None)
        if row["plan"] is not None:
            assert row["lower_bound"] <= row["makespan"] and row["peak_memory"] <= row["memory_cap"]
            assert main(["verify", str(folder / row["plan"]), "--graph", FILES[0], "--cluster", FILES[1]]) == 0
    assert [row["status"] == "infeasible" for row in found] == [row["memory_cap"] == 1 for row in found]
    assert all(row["best_baseline"] == "dualpipe" for row in found if row["memory_cap"] == 11)
    for copies in (1, 2):  # never slower with more memory
        line = [row["makespan"] for row in found if row["copies"] == copies and row["makespan"] is not None]
        assert line == sorted(line, reverse=True)
    assert capsys.readouterr().err == ""


def test_the_table_has_the_same_rows(folder: Path) -> None:
    with (folder / "sweep.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    for row, cells in zip(rows(folder), table, strict=True):
        for name in ("memory_cap", "copies", "makespan", "lower_bound", "gap", "peak_memory", "seconds"):
            assert cells[name] == ("" if row[name] is None else str(row[name]))
        assert cells["baselines"] == "1f1b,dualpipe" and cells["status"] == row["status"]


def test_picture_and_page(folder: Path) -> None:
    """Each point with a plan is a mark, with a hint; in the page it leads to the page of its plan."""
    with_plan = [row for row in rows(folder) if row["plan"] is not None]
    picture = ElementTree.fromstring((folder / "frontier.svg").read_bytes())
    circles = list(picture.iter("{http://www.w3.org/2000/svg}circle"))
    assert len(circles) == len(with_plan)
    assert all("makespan" in (circle[0].text or "") for circle in circles)
    words = " ".join(text.text or "" for text in picture.iter("{http://www.w3.org/2000/svg}text"))
    assert (
        "copies 1" in words and "memory cap of a device, B" in words and "makespan, s" in words and "dualpipe" in words
    )
    page = (folder / "sweep.html").read_text("utf-8")
    links = set(re.findall(r"href='(plans/[^']+)'", page))
    assert len(links) == 2 * len(with_plan) and all((folder / link).is_file() for link in links)
    assert page.count("data-hint='copies") == len(with_plan) and "src=" not in page


def test_the_same_command_reads_what_is_kept(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.json") if path.parent.name != "sweep"}
    found = rows(folder)
    assert swept(folder, *GRID, "--processes", "1") == found, "seconds, too"
    assert all(path.stat().st_mtime_ns == when for path, when in before.items() if path.name != "sweep.json")


@pytest.fixture
def not_ignored() -> Iterator[None]:
    """Tests in a shell's background begin with SIGINT ignored, which their processes would inherit and must respect."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


def children(pid: int) -> set[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return set(map(int, found.stdout.split()))


@pytest.mark.usefixtures("not_ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_what_is_done_and_the_same_command_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    """The second microbatches take far longer; a signal ends the sweep while they run, and the processes with it."""
    out = tmp_path / "sweep"
    grid = ["--microbatches", "2,400", "--effort", "40,41", "--baselines", "none", "--processes", "2"]
    process = subprocess.Popen(
        command(out, *grid), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    until = time.monotonic() + 120
    while len(list(out.glob("results/*.json"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    workers = children(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    done = re.search(r"interrupted: (\d) of 4 points are done", said)
    # One fewer than are kept, where the signal came between the file and the table.
    assert process.returncode == 0 and done is not None and done[1] in "123", said
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
        time.sleep(0.05)
    assert workers and not any(Path(f"/proc/{pid}").exists() for pid in workers)
    document = json.loads((out / "sweep.json").read_text("utf-8"))
    assert document["interrupted"] is True
    assert [row["status"] for row in document["rows"]].count("interrupted") == 4 - int(done[1])
    kept = {path: path.stat().st_mtime_ns for path in out.glob("results/*.json")}
    found = swept(out, *grid)
    assert not any(row["status"] == "interrupted" for row in found) and all(row["plan"] for row in found)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept and len(list(out.glob("results/*.json"))) == 4


def test_thresholds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row says whether its plan meets them; 5 where none does, and the plans are there all the same."""
    grid = ["--memory-cap", "7,9", "--effort", "30", "--baselines", "none", "--max-bubble", "5%", "--copies"]
    arguments = ["sweep", *FILES, "-o", str(tmp_path), "--processes", "1", *grid]
    assert main([*arguments, "1", "--quiet"]) == 5
    assert [row["met"] for row in rows(tmp_path)] == [False, False] and all(row["plan"] for row in rows(tmp_path))
    assert "threshold not met: by no point" in capsys.readouterr().err
    assert main([*arguments, "1,2", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert [row["met"] for row in document["rows"]] == [False, False, True, True]


def test_points_that_differ_in_thresholds_alone_are_one_solve(tmp_path: Path) -> None:
    grid = ["--effort", "30", "--baselines", "1f1b,dualpipe", "--beat", "1f1b,dualpipe", "--processes", "1"]
    assert main(["sweep", *FILES, "-o", str(tmp_path), "--quiet", *grid]) == 0
    assert [(row["beat"], row["met"]) for row in rows(tmp_path)] == [("1f1b", True), ("dualpipe", False)]
    assert len(list(tmp_path.glob("results/*.json"))) == 1


@pytest.mark.parametrize(("cap", "code", "status"), [("1", 3, "infeasible"), ("0.5,1", 3, "infeasible")])
def test_all_points_infeasible(tmp_path: Path, cap: str, code: int, status: str) -> None:
    found = swept(tmp_path, "--memory-cap", cap, "--processes", "1", code=code)
    assert all(row["status"] == status and row["reason"] for row in found)
    assert ElementTree.fromstring((tmp_path / "frontier.svg").read_bytes()).tag.endswith("svg")
    assert main(["sweep", *FILES, "-o", str(tmp_path), "--memory-cap", cap, "--quiet"]) == code


def test_a_solve_beyond_the_memory_limit_is_a_row(tmp_path: Path) -> None:
    """No crash, and nothing is kept: the same command with a larger limit solves it."""
    grid = ["--copies", "1", "--effort", "30", "--baselines", "none", "--processes", "1", "--memory-limit"]
    (row,) = swept(tmp_path, *grid, "40 MB", code=4)
    assert row["status"] == "failed" and row["reason"] == "it takes more memory than its limit of 0.03725 GiB"
    (row,) = swept(tmp_path, *grid, "4 GiB")
    assert row["status"] == "optimal" and row["reason"] == ""


def test_other_objectives_have_their_figures(tmp_path: Path) -> None:
    grid = ["--objective", "memory,period", "--effort", "30", "--baselines", "none", "--processes", "1"]
    memory, period = swept(tmp_path, *grid)
    assert memory["memory_lower_bound"] <= memory["peak_memory"] and period["period"] >= period["period_lower_bound"]


def test_one_process_does_not_import_a_solver_to_refuse(tmp_path: Path) -> None:
    """A missing file is one line, and no folder is made."""
    run = subprocess.run(
        [sys.executable, "-m", "planner", "sweep", "none.yaml", FILES[1], "-o", str(tmp_path / "out")],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert run.returncode == 2 and run.stderr == "planner: none.yaml: no such file: check the path\n"
    assert not (tmp_path / "out").exists()
