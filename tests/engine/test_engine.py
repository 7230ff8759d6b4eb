"""The engine on real processes: order, failures, dead workers, limits, and what is kept."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from engine_works import Fails, Killed, Square, Takes

from planner.engine import Engine, Limits, Outcome, Store, handed, processes
from planner.engine.progress import Pace
from planner.files.errors import InputError


@pytest.fixture
def log(tmp_path: Path) -> str:
    return str(tmp_path / "log")


def begun(log: str) -> Counter[int]:
    return Counter(int(line.split()[0]) for line in Path(log).read_text("ascii").splitlines())


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_come_from_processes_and_are_kept(tmp_path: Path, log: str) -> None:
    works = [Square(n, log) for n in range(5)]
    with Engine(processes(2), Store(tmp_path / "kept"), Limits(threads=3)) as engine:
        first = {o.work: o for o in engine.run(works)}
    assert {w.n: o.result for w, o in first.items()} == {n: {"square": n * n, "threads": 3} for n in range(5)}
    assert not any(o.kept or o.reason for o in first.values())
    assert len({line.split()[1] for line in Path(log).read_text("ascii").splitlines()} - {str(os.getpid())}) == 2
    with Engine(processes(2), Store(tmp_path / "kept")) as engine:
        again = list(engine.run([*works, Square(9, log)]))
    assert begun(log) == dict.fromkeys([0, 1, 2, 3, 4, 9], 1), "only what was not there is done"
    assert {o.work.n: (o.kept, o.result) for o in again if o.kept} == {
        n: (True, first[works[n]].result) for n in range(5)
    }


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": "planner/result@1"}', "key", "ended", "code"])
def test_damaged_files_are_ignored_and_done_again(
    tmp_path: Path, log: str, threads: ThreadPoolExecutor, damage: str
) -> None:
    work = Square(3, log)
    store = Store(tmp_path / "kept")
    with Engine(handed(threads), store) as engine:
        list(engine.run([work]))
    document = json.loads(store.path(work).read_text("utf-8"))
    wrong = {"key": {"n": 4}, "ended": {}, "code": 0}
    if damage == "code":
        document["ended"]["code"] = "0"
    elif damage in wrong:
        document[damage] = wrong[damage]
    store.path(work).write_text(json.dumps(document) if damage in wrong else damage, "utf-8")
    with Engine(handed(threads), store) as engine:
        (outcome,) = engine.run([work])
    assert outcome.result == {"square": 9, "threads": 1} and not outcome.kept and begun(log)[3] == 2
    assert store.read(work) is not None


def test_a_store_that_cannot_be_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be made a folder"):
        Store(tmp_path / "file" / "kept")


def test_a_killed_worker_costs_the_work_it_was_at(log: str) -> None:
    """It is done again; what runs beside it goes on undisturbed."""
    works = [Square(1, log, 2.0), Killed(2, log), *(Square(n, log) for n in range(3, 7))]
    with Engine(processes(2)) as engine:
        found = {o.work.n: o.result for o in engine.run(works)}
    assert found == {n: {"square": n * n, "threads": 1} for n in range(1, 7)}
    assert begun(log) == {1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1}


def test_work_that_kills_its_worker_each_time_gets_a_reason(tmp_path: Path, log: str) -> None:
    store = Store(tmp_path / "kept")
    with Engine(processes(1), store, retries=1) as engine:
        found = {o.work.n: o for o in engine.run([Killed(2, log, times=9), Square(3, log)])}
    assert (found[2].result, found[2].reason, found[2].code) == (None, "its worker died, 2 times in a row", 1)
    assert found[3].result is not None and begun(log) == {2: 2, 3: 1}
    assert store.read(Killed(2, log)) is None, "the same command tries it again"


def test_reasons_come_back_and_faults_are_not_kept(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    store = Store(tmp_path / "kept")
    works = [Fails(1), Fails(2, how="unkept"), Fails(3, how="raised"), Square(4)]
    with Engine(handed(threads), store) as engine:
        found = {o.work.n: (o.result is None, o.reason, o.code) for o in engine.run(works)}
    assert found == {
        1: (True, "too little memory by 3 GiB", 3),
        2: (True, "not this time", 4),
        3: (True, "internal error: RuntimeError: a fault?of two lines", 1),
        4: (False, "", 0),
    }
    assert [store.read(work) is not None for work in works] == [True, False, False, True]
    with Engine(handed(threads), store) as engine:
        (again,) = engine.run([Fails(1)])
    assert again.kept and (again.reason, again.code) == ("too little memory by 3 GiB", 3)


def test_memory_beyond_the_limit_is_a_reason(log: str) -> None:
    limits = Limits(memory=float(2**30))
    with Engine(processes(1), None, limits) as engine:
        found = {o.work.n: o for o in engine.run([Square(0, log), Takes(1, bytes=2**31), Square(2, log)])}
        (another,) = engine.run([Takes(3, bytes=2**20)])
    assert found[1].reason == "it takes more memory than its limit of 1 GiB"
    assert another.result == {"held": 1, "stopped": False}
    processes_of = [line.split()[1] for line in Path(log).read_text("ascii").splitlines()]
    assert len(set(processes_of)) == 2, "a process in which an allocation failed does nothing more"


def test_without_a_process_of_its_own_it_is_asked_to_stop(threads: ThreadPoolExecutor) -> None:
    """A limit on a process that does other things would hit those: its memory is looked at instead."""
    with Engine(handed(threads), None, Limits(memory=float(2**20))) as engine:
        begun = time.monotonic()
        (outcome,) = engine.run([Takes(1, seconds=1.0, bytes=2**20)])
    assert outcome.reason == "it takes more memory than its limit of 0.0009766 GiB" and time.monotonic() - begun < 15


def test_free_and_a_wait_with_a_timeout(threads: ThreadPoolExecutor, log: str) -> None:
    with Engine(handed(threads)) as engine:
        assert (engine.workers, engine.free, engine.wait()) == (2, 2, [])
        engine.submit(Square(1, log, 1.0))
        assert engine.free == 1 and engine.wait(0.05) == []
        engine.submit(Square(2, log))
        engine.submit(Square(3, log))
        assert engine.free == 0 and engine.pending == 3
        ended: list[Outcome] = []
        while engine.pending:
            ended += engine.wait()
    assert sorted(o.work.n for o in ended) == [1, 2, 3] and engine.free == 2


def test_a_stop_leaves_out_what_has_not_begun_and_ends_what_runs(log: str) -> None:
    engine = Engine(processes(1))
    with pytest.raises(KeyboardInterrupt), engine:
        engine.submit(Square(1, log, 60.0))
        engine.submit(Square(2, log))
        until = time.monotonic() + 30
        while not Path(log).exists() and time.monotonic() < until:
            engine.wait(0.1)
        raise KeyboardInterrupt
    process = int(Path(log).read_text("ascii").split()[1])
    until = time.monotonic() + 10
    while Path(f"/proc/{process}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists() and begun(log) == {1: 1}
    with pytest.raises(RuntimeError, match="stopped"):
        engine.submit(Square(3))


def test_a_pool_that_is_handed_in_and_breaks_is_a_reason(log: str) -> None:
    """It is not the engine's to make another one; what ended before is there."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool, Engine(handed(pool)) as engine:
        found = {o.work.n: o for o in engine.run([Square(1, log), Killed(2, log), Square(3, log)])}
    assert found[1].result == {"square": 1, "threads": 1}
    assert all(found[n].reason.startswith("the executor takes no more work") for n in (2, 3))


def test_an_executor_that_has_ended_is_a_reason() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with Engine(handed(pool)) as engine:
        (outcome,) = engine.run([Square(1)])
    assert outcome.result is None and outcome.reason.startswith("the executor takes no more work")


def test_the_time_left_counts_only_what_was_done_now() -> None:
    pace = Pace(10, 2)
    assert pace.left is None and pace.words("points") == "0 of 10 points, 0 s"
    pace.add(Outcome(Square(1), {}, "", 500.0, True))
    assert pace.left is None
    pace.add(Outcome(Square(2), {}, "", 30.0, False))
    pace.add(Outcome(Square(3), {}, "", 50.0, False))
    assert pace.left == 40.0 * 7 / 2
    assert pace.words("points", "now").endswith("about 140 s left  now")
