"""The command line: exit codes, streams, files; with a search that is replaced where only the shell is meant."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_files import GRAPH

from planner import __version__, read_problem
from planner.commands import running
from planner.commands.app import COMMANDS, main
from planner.common.budget import Control
from planner.files.plan_file import read_plan
from planner.objectives.baseline import baseline_plan
from planner.objectives.options import NoPlan, SolveOptions
from planner.plan.plan import BaselineFigures, Plan
from planner.problem import Impossible, Problem

Solve = Callable[[Problem, Control, SolveOptions], Plan]


def found(problem: Problem, control: Control, options: SolveOptions) -> Plan:
    """A search that gives the plan of 1F1B, and one baseline of each kind."""
    plan = baseline_plan("1f1b", problem)
    rows = (
        BaselineFigures("gpipe", plan.makespan, 0.5, 0.5, 2.0**34, 1, False),
        BaselineFigures("1f1b", plan.makespan, 0.5, 0.5, 1.0, 1, True),
        BaselineFigures("zb1p", plan.makespan * 2, 0.5, 0.5, 1.0, 1, True),
        BaselineFigures("dualpipe", reason="DualPipe needs more"),
    )
    compared = tuple(row for row in rows if row.name in options.baselines)
    return replace(plan, origin="solve", options=options.flags, baselines=compared)


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Callable[[Solve], None]:
    """Puts a search in the place of the real one."""
    return lambda function: monkeypatch.setattr(running, "solve", function)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"planner {__version__}\n"
    assert main(["solve", "--help"]) == 0
    out = capsys.readouterr().out
    for flag in (
        *("--objective", "--microbatches", "--copies", "--layout", "--chunks", "--memory-cap", "--time-limit", "--gap"),
        *("--seed", "--threads", "--baselines", "--max-bubble", "--beat", "--format", "--quiet", "-o"),
    ):
        assert flag in out


def test_help_is_there_in_short_and_without_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)
    for arguments in ([], ["-h"]):
        assert main(arguments) == 0
        assert capsys.readouterr().out == text
    assert main(["import", "hf", "-h"]) == 0
    assert "--tensor-parallel" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_the_list_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "-h"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: planner {name} ") and COMMANDS[name] in " ".join(out.split())


@pytest.mark.parametrize("name", ["graph", "cluster", "plan", "accelerator"])
def test_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", name]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["$schema"].startswith("https://json-schema.org/")
    assert captured.err == ""


@pytest.mark.parametrize(
    "flags",
    [
        ["--microbatches", "0"],
        ["--copies", "0"],
        ["--copies", "two"],
        ["--layout", "circle"],
        ["--layout", "bidirectional"],
        ["--layout", "linear", "--chunks", "2"],
        ["--layout", "vshape", "--chunks", "3"],
        ["--chunks", "0"],
        ["--memory-cap", "80 GB/s"],
        ["--memory-cap", "-1"],
        ["--time-limit", "0"],
        ["--time-limit", "soon"],
        ["--gap", "-0.1"],
        ["--gap", "5"],
        ["--gap", "nan"],
        ["--seed", "-1"],
        ["--threads", "0"],
        ["--baselines", "1f1b,2f2b"],
        ["--beat", "2f2b"],
        ["--max-bubble", "many"],
        ["--objective", "bubble"],
        ["--max-makespan", "70"],
        ["--objective", "memory", "--max-makespan", "0"],
        ["--format", "yaml"],
        ["--frobnicate"],
        ["-o", "missing/plan.json"],
        ["-o", "."],
        ["-o", "graph.yaml"],
    ],
)
def test_bad_flags_of_solve(
    flags: list[str], files: list[str], search: Callable[[Solve], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr, exit 2, before any search."""

    def never(*_: Any) -> Plan:
        raise AssertionError("the search must not start")

    search(never)
    assert main(["solve", *files, *flags]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("planner: ") and captured.err.count("\n") == 1
    assert Path("graph.yaml").read_text(encoding="utf-8") == GRAPH


@pytest.mark.parametrize("arguments", [["solve"], ["frob"], ["schema", "x"], ["compare", "a"], ["show", "nope.json"]])
def test_bad_usage(arguments: list[str], files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1


def test_bad_input_names_file_and_line(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("graph.yaml").write_text(GRAPH.replace("inputs: [a]", "inputs: [z]"), encoding="utf-8")
    assert main(["solve", *files]) == 2
    assert "graph.yaml:7" in capsys.readouterr().err


def test_unknown_devices_name_their_line(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """``devices`` takes known names only, a pass time at least one; the other names are noted, under --quiet too."""
    operator = "  - name: c\n    time:\n      forward: {gpu0: 1}\n      input_grad: {gpu0: 1,\n        "

    def said(names: str, devices: str) -> tuple[int, str]:
        text = f"{GRAPH}{operator}{names}}}\n    devices:\n      - small\n      - {devices}\n"
        Path("graph.yaml").write_text(text, encoding="utf-8")
        code = main(["baseline", "1f1b", *files, "--quiet"])
        return code, capsys.readouterr().err

    missing = "no device, group or type of cluster 'pair' is called"
    hint = "did you mean 'gpu'?"
    code, err = said("gpu1: 1", "gpuu")
    assert (code, err) == (2, f"planner: graph.yaml:15: operators[2].devices[1]: {missing} 'gpuu': {hint}\n")
    code, err = said("gpuu: 1", "gpu0")
    field = "operators[2].time.input_grad.gpuu"
    assert err.startswith(f"planner: graph.yaml:12: {field}: is ignored: {missing} 'gpuu': {hint}\n")
    operator = operator.replace("input_grad: {gpu0: 1,", "input_grad: {h100: 1,")
    code, err = said("a100: 2", "gpu0")
    assert code == 2 and err.count("\n") == 1
    field = "operators[2].time.input_grad"
    assert f"graph.yaml:11: {field}: names no device of cluster 'pair' (got 'h100', 'a100')" in err


def test_no_more_than_a_few_unknown_names_are_noted(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    names = ", ".join(f"t{k}: 1" for k in range(9))
    text = GRAPH.replace("{name: b, time: {forward: 1},", f"{{name: b, time: {{forward: {{gpu: 1, {names}}}}},")
    Path("graph.yaml").write_text(text, encoding="utf-8")
    assert main(["baseline", "1f1b", *files, "--quiet"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and lines[-1] == "planner: graph.yaml: 5 more names in pass times are unknown to the cluster"


LONG = "x" * 1000


@pytest.mark.parametrize(
    ("arguments", "graph"),
    [
        (["baseline", "gpipe", "graph.yaml", "cluster.yaml"], f"{GRAPH}{LONG}: 1\n"),
        (["baseline", "gpipe", "graph.yaml", "cluster.yaml"], f"{GRAPH}mode: *{LONG}\n"),
        (["baseline", "gpipe", "graph.yaml", "cluster.yaml"], GRAPH.replace("1 GiB", f"1 {LONG}")),
        (["baseline", "gpipe", "graph.yaml", "cluster.yaml"], GRAPH.replace("[a]", f"[{LONG[:256]}]")),
        (["baseline", "gpipe", "graph.yaml", "cluster.yaml"], GRAPH.replace("[a]", f"[a], devices: [{LONG[:256]}]")),
        (["baseline", LONG, "graph.yaml", "cluster.yaml"], GRAPH),
        (["solve", "graph.yaml", "cluster.yaml", "--layout", LONG], GRAPH),
        (["solve", "graph.yaml", "cluster.yaml", f"--{LONG}"], GRAPH),
        (["export", "graph.yaml", "--to", LONG], GRAPH),
        ([LONG], GRAPH),
        (["init", LONG], GRAPH),
    ],
)
def test_long_words_are_shortened(
    arguments: list[str], graph: str, files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys, values, names and flags of 1,000 characters: one short line with an ellipsis."""
    Path("graph.yaml").write_text(graph, encoding="utf-8")
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert "xxx..." in err and "x" * 130 not in err and len(err) < 450 and err.count("\n") == 1


def test_long_words_of_plans_are_shortened(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Plan files may hold names of any length, and verify lists them."""
    assert main(["baseline", "1f1b", *files, "-o", "plan.json", "--quiet"]) == 0
    text = Path("plan.json").read_text(encoding="utf-8")
    Path("plan.json").write_text(text.replace('"device": "gpu1"', f'"device": "{LONG}"'), encoding="utf-8")
    capsys.readouterr()
    inputs = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
    for arguments in (["verify", "plan.json"], ["verify", "plan.json", "--format", "json"], ["stretch", "plan.json"]):
        more = ["--microbatches", "8"] if arguments[0] == "stretch" else []
        assert main([*arguments, *inputs, *more]) in (2, 6)
        captured = capsys.readouterr()
        said = captured.out + captured.err
        assert "xxx..." in said and "x" * 130 not in said


def test_solve_streams_and_file(
    files: list[str], search: Callable[[Solve], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The report on stdout, the note on stderr, the plan in its file with every flag."""
    search(found)
    flags = ["--microbatches", "6", "--memory-cap", "6 GiB", "--time-limit", "1 min", "--gap", "1%", "--seed", "7"]
    assert main(["solve", *files, *flags, "--baselines", "zb1p,gpipe", "-o", "plan.json"]) == 0
    captured = capsys.readouterr()
    assert "makespan" in captured.out and "zb1p" in captured.out
    assert captured.err == "planner: plan written to plan.json\n"
    plan = read_plan("plan.json")
    assert dict(plan.options) == {
        "objective": "makespan",
        "max_makespan": None,
        "max_period": None,
        "microbatches": 6,
        "copies": 1,
        "layout": "auto",
        "chunks": None,
        "memory_cap": 6 * 2**30,
        "time_limit": 60.0,
        "effort": None,
        "gap": 0.01,
        "seed": 7,
        "threads": None,
        "baselines": ["gpipe", "zb1p"],
    }


def test_json_is_the_plan_and_nothing_else(
    files: list[str], search: Callable[[Solve], None], capsys: pytest.CaptureFixture[str]
) -> None:
    search(found)
    assert main(["solve", *files, "--format", "json", "-o", "plan.json"]) == 0
    out = capsys.readouterr().out
    assert out == Path("plan.json").read_text(encoding="utf-8")
    assert main(["solve", *files, "-o", "-"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["schema"] == "planner/plan@1" and captured.err == ""
    assert not Path("-").exists()


def test_quiet(files: list[str], search: Callable[[Solve], None], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stdout, nothing on stderr."""
    search(found)
    assert main(["solve", *files, "--quiet", "-o", "plan.json"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 1 and captured.err == ""


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--max-bubble", "0.9"], 0, ""),
        (["--max-bubble", "90%"], 0, ""),
        (["--max-bubble", "0"], 5, "--max-bubble"),
        (["--beat", "zb1p"], 0, ""),
        (["--beat", "1f1b"], 5, "not below that of it"),  # as fast is not faster
        (["--beat", "gpipe"], 0, "does not fit"),
        (["--beat", "dualpipe"], 0, "does not apply"),
        (["--beat", "zb1p", "--baselines", "none"], 0, ""),
        (["--beat", "dualpipe-unfused"], 5, "not known"),
    ],
)
def test_thresholds(
    flags: list[str],
    code: int,
    words: str,
    files: list[str],
    search: Callable[[Solve], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Missing one exits with 5 and says why; the plan is written all the same."""
    search(found)
    assert main(["solve", *files, *flags, "-o", "plan.json"]) == code
    assert words in capsys.readouterr().err
    assert read_plan("plan.json").origin == "solve"


@pytest.mark.parametrize(
    ("error", "code"), [(Impossible("gpu0 is 1 GiB short"), 3), (NoPlan("nothing yet"), 4), (ZeroDivisionError("x"), 1)]
)
def test_errors_of_the_search(
    error: Exception,
    code: int,
    files: list[str],
    search: Callable[[Solve], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: Any) -> Plan:
        raise error

    search(fails)
    assert main(["solve", *files, "-o", "plan.json"]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and str(error) in captured.err and captured.err.count("\n") == 1
    assert not Path("plan.json").exists()


def test_operator_that_no_device_may_run(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Path("graph.yaml").write_text(
        GRAPH.replace("{name: b, time: {forward: 1},", "{name: b, work: {forward: {flops: 1}},"), encoding="utf-8"
    )
    assert main(["solve", *files]) == 3
    err = capsys.readouterr().err
    assert "graph.yaml:7: operator 'b' has no device that may run it: gpu0, gpu1: type 'small' lacks" in err


def test_a_plan_of_many_tasks_is_written_within_the_limit(files: list[str], search: Callable[[Solve], None]) -> None:
    """It takes seconds to write, so the search ends so much earlier."""
    over = threading.Event()

    def endless(problem: Problem, control: Control, options: SolveOptions) -> Plan:
        plan = baseline_plan("1f1b", problem)
        control.fallback = replace(plan, tasks=plan.tasks * (240_000 // len(plan.tasks)))
        over.wait(60)
        return plan

    search(endless)
    problem, control = read_problem(*files), Control(1.0)
    with running.signals_caught(control.stop_requested) as signals:
        begun = time.monotonic()
        outcome = running.run_solve(problem, control, SolveOptions({}), signals, begun + 4.0, progress=False)
    over.set()
    assert outcome.abandoned and time.monotonic() - begun < 3.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_with_the_best_plan(
    number: int, files: list[str], search: Callable[[Solve], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """The search sees the stop, and its plan is written and marked."""

    def patient(problem: Problem, control: Control, options: SolveOptions) -> Plan:
        assert control.stop_requested.wait(20)
        return found(problem, control, options)

    search(patient)

    def before(number: int, frame: object) -> None:
        """Not SIG_IGN, which tests in a shell's background begin with and a program must leave."""

    inherited = signal.signal(number, before)
    try:
        timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
        timer.start()
        assert main(["solve", *files, "-o", "plan.json"]) == 0
        assert read_plan("plan.json").status == "interrupted"
        assert signal.getsignal(number) is before
    finally:
        signal.signal(number, inherited)


def test_search_that_does_not_come_back(
    files: list[str],
    search: Callable[[Solve], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The plan found until then is written, and the process ends without the search."""
    import planner.commands.solve as command

    class Left(Exception):
        pass

    def leave(code: int) -> None:
        raise Left(int(code))

    def stuck(problem: Problem, control: Control, options: SolveOptions) -> Plan:
        control.fallback = found(problem, control, options)
        time.sleep(30)
        raise AssertionError

    search(stuck)
    monkeypatch.setattr(command, "leave_now", leave)
    monkeypatch.setattr(running, "GRACE", 0.2)
    monkeypatch.setenv("PLANNER_DEBUG", "1")
    begun = time.monotonic()
    with pytest.raises(Left, match="0"):
        main(["solve", *files, "--time-limit", "0.5", "-o", "plan.json"])
    assert time.monotonic() - begun < 5
    assert read_plan("plan.json").status == "feasible"


def planner(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "planner", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def test_help_does_not_wait_for_solvers() -> None:
    code = (
        "import sys, planner.commands.app as c; c.main(['--help']); "
        "assert not {'numpy', 'numba', 'highspy', 'pulp', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_reader_that_goes_away(files: list[str]) -> None:
    """``planner schema | head -1`` is no error."""
    process = planner("schema", "plan")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_real_solve(files: list[str]) -> None:
    """From files to a verified plan in a process of its own, without colours or progress."""
    environment = {**os.environ, "NO_COLOR": "1"}
    process = planner("solve", *files, "--time-limit", "10", "-o", "plan.json", env=environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "\x1b" not in out + err and "\r" not in err
    verify = planner("verify", "plan.json", "--graph", "graph.yaml", "--cluster", "cluster.yaml")
    assert verify.communicate(timeout=60)[0].startswith("OK")
    assert verify.returncode == 0
