"""Signals and streams outside of a solve: no traceback, no temporary file, one line that says what happened."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "configs" / "dualpipe-4x8"
PLANNER = [sys.executable, "-m", "planner"]


@pytest.fixture(autouse=True)
def not_ignored() -> Iterator[None]:
    """Tests in a shell's background begin with SIGINT ignored, which their processes would inherit and must respect."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


def wait_until_it_listens(pid: int) -> None:
    """Until the process handles SIGTERM, as its status says: however long it takes to load."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.05)
    raise AssertionError("it does not listen")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_an_input_is_awaited(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """The graph comes from stdin, which stays open: the command ends at once, and leaves nothing."""
    command = [*PLANNER, "baseline", "1f1b", "-", str(CONFIG / "cluster.yaml"), "-o", str(tmp_path / "plan.json")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until_it_listens(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said.count("\n")) == (code, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["show", "import"])
def test_a_signal_at_any_moment(command: str, number: signal.Signals, code: int, tmp_path: Path) -> None:
    """From the moment it listens on: one line and the code of the signal, or it was done before; nothing is left."""
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    plan = tmp_path / "plan.json"
    files = [str(CONFIG / name) for name in ("graph.yaml", "cluster.yaml")]
    subprocess.run([*PLANNER, "baseline", "1f1b", *files, "--quiet", "-o", str(plan)], check=True, capture_output=True)
    config = Path(__file__).parents[2] / "configs" / "models" / "bert-large.json"
    arguments = {
        "show": ["show", str(plan), "--html", str(out / "out")],
        "import": ["import", "hf", str(config), "--quiet", "-o", str(out / "out")],
    }[command]
    ended = set()
    for moment in (0, 1, 2, 4, 7):
        out.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [*PLANNER, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(temporary)},
        )
        wait_until_it_listens(process.pid)
        time.sleep(moment * 0.03)
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        lines = [line for line in said.splitlines() if "written to" not in line]
        ended.add(process.returncode)
        # While the interpreter shuts down, the file is there, and signals have their default effect.
        assert process.returncode in (code, 0, -number) and len(lines) == (process.returncode == code), said
        assert {path.name for path in out.iterdir()} <= {"out"} and list(temporary.iterdir()) == []
    assert code in ended


def test_the_graph_from_stdin() -> None:
    """``planner import ... | planner solve - cluster.yaml``."""
    command = [
        *PLANNER,
        "solve",
        "-",
        str(CONFIG / "cluster.yaml"),
        "--quiet",
        "--baselines",
        "none",
        "--effort",
        "500",
    ]
    run = subprocess.run(
        command, input=(CONFIG / "graph.yaml").read_text(), capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "makespan 27 s" in run.stdout
    both = subprocess.run([*PLANNER, "solve", "-", "-"], capture_output=True, text=True, check=False)
    assert both.returncode == 2 and "both" in both.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_stdout_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        run = subprocess.run([*PLANNER, "schema", "graph"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "planner: stdout cannot be written: no space left on device\n"
