"""docs/runtimes.md says what the declarations say."""

from __future__ import annotations

from pathlib import Path

import pytest

from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.runtimes.runtime import Cut

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "runtimes.md").read_text(encoding="utf-8")


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
