"""Machine code that is kept: numba makes it once, and nothing that is out of date or spoilt is ever run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from solver_problems import config

from planner import machine_code
from planner.control import Control
from planner.machine_code import BARE, Compiled, Entry
from planner.schedule.branching import Branching
from planner.schedule.branching_table import FLOATS, PLANES, TUPLES, table_of

JOB_SHOP = Path(__file__).parents[1] / "configs" / "jobshop-ft06"


@Compiled
def twice(x):  # type: ignore[no-untyped-def]
    """A function that another one calls."""
    return 2 * x


def made(options: dict[str, Any], divisor: bool = False) -> Any:
    """What ``Entry`` calls to have something compiled."""
    import numba

    cfunc: Any = numba.cfunc

    def entry(x, y):  # type: ignore[no-untyped-def]
        return twice(x) // y if divisor else twice(x) + y

    return cfunc("int64(int64, int64)", **options)(entry)


class Maker:
    """Counts how often something is compiled."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.times = make, 0

    def __call__(self) -> Any:
        self.times += 1
        return self.make()


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for object code."""
    folder = tmp_path / "kept"
    monkeypatch.setattr(machine_code, "_folders", lambda: (tmp_path / "source" / "missing", folder))
    (tmp_path / "source").write_text("version 1", encoding="utf-8")  # a file: nothing can be kept in it
    return folder


def test_compiled_once_and_then_loaded(kept: Path, tmp_path: Path) -> None:
    """In the first folder that can be written; a change of the source, or of a bit of the code, has it made again."""
    maker = Maker(lambda: made(BARE))

    def call() -> tuple[int, int]:
        entry, before = Entry("sum", 2, maker, [tmp_path / "source"]), maker.times
        ready = entry.is_ready
        total = entry(20, 3)
        assert ready == (maker.times == before)
        assert entry.is_ready
        return total, maker.times

    assert call() == (43, 1)
    (file,) = kept.iterdir()
    assert call() == (43, 1)
    (tmp_path / "source").write_text("version 2", encoding="utf-8")
    assert call() == (43, 2)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert call() == (43, 3)
    content = file.read_bytes()
    file.write_bytes(content[:10])
    assert call() == (43, 4)
    assert call() == (43, 4)
    assert list(kept.iterdir()) == [file]


def test_code_that_may_raise_is_not_kept(kept: Path, tmp_path: Path) -> None:
    """It would need numba to raise anything."""
    maker = Maker(lambda: made({"nogil": True}, divisor=True))
    for times in (1, 2):
        assert Entry("quotient", 2, maker, [tmp_path / "source"])(20, 8) == 5
        assert maker.times == times
    assert not kept.exists()


def test_it_works_where_nothing_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled every time."""
    (tmp_path / "file").touch()
    monkeypatch.setattr(machine_code, "_folders", lambda: (tmp_path / "file" / "below",))
    maker = Maker(lambda: made(BARE))
    assert [Entry("sum", 2, maker, [])(1, 1) for _ in range(2)] == [3, 3]
    assert maker.times == 2


def test_arrays_of_another_layout_are_refused() -> None:
    """Compiled code would read past their end."""
    branching = Branching.of(config("jobshop-ft06"), 100.0)
    assert branching is not None
    arrays = (branching.trail, branching.shop, branching.clauses, branching.taste)
    assert (table_of(*arrays) == branching.table).all()
    assert {name for cls in TUPLES for name in cls._fields} >= PLANES | FLOATS
    trail = branching.trail
    for wrong in (trail.value.astype(np.int32), trail.value.reshape(1, -1), trail.value[::2], trail.value * 1.0):
        with pytest.raises(TypeError, match="value"):
            table_of(trail._replace(value=wrong), *arrays[1:])


def test_a_job_shop_is_solved_without_numba() -> None:
    """Once its code is kept."""
    branching = Branching.of(config("jobshop-ft06"), 55.0)
    assert branching is not None
    assert branching.ask(55, 55, 10_000, Control()).start is not None  # the code is there from now on
    script = (
        "import sys\nfrom planner.cli import main\n"
        f"code = main(['solve', {str(JOB_SHOP / 'graph.yaml')!r}, {str(JOB_SHOP / 'cluster.yaml')!r}, '--quiet'])\n"
        "assert code == 0\n"
        "assert 'numba' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "makespan 55 s, optimal" in run.stdout
