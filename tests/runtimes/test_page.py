"""docs/runtimes.md says what the declarations say."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from planner.commands.app import main
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Cut

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "runtimes.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_table_has_every_runtime_as_it_is_declared(name: str) -> None:
    runtime = RUNTIMES[name]
    cells = [
        f"`{name}`",
        "anywhere" if runtime.cut is Cut.ANYWHERE else "between layers" if runtime.pipeline else "(one stage)",
        ", ".join(runtime.schedules) or "any order",
        "any" if name == ANY else str(runtime.chunks),
        "yes" if runtime.uneven else "no",
        runtime.transfers.value,
        "all" if name == ANY else ", ".join(sorted(kind.value for kind in runtime.hides)),
        "beside backward" if runtime.reduces_beside else "after backward",
        runtime.recompute.value,
    ]
    assert f"| {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("name", [name for name in RUNTIMES if name != ANY])
def test_groups_and_sources_are_named(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |") and "](" in line)
    assert f"| {RUNTIMES[name].groups} |" in row
    for source in RUNTIMES[name].sources:
        assert source in row


def test_the_six_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the page as they stand, but for a shorter time limit and the launch itself."""
    text = PAGE[PAGE.index("by six commands") :].split("\n\n")[1].replace("\\\n", " ")
    commands = [line.strip() for line in text.strip().splitlines()]
    assert len(commands) == 6
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for command in commands[:-1]:
        words = shlex.split(command.replace("--time-limit 30", "--time-limit 4 --quiet --baselines none"))
        assert words[0] == "planner"
        assert main(words[1:]) == 0, command
    flags = (tmp_path / "flags.txt").read_text(encoding="utf-8")
    for wanted in ("--tensor-model-parallel-size 4", "--context-parallel-size 2", "--pipeline-model-parallel-size 4"):
        assert wanted in flags
    assert "--global-batch-size 128" in flags
    assert commands[-1].startswith("torchrun")
