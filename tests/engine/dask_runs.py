"""Work and a sweep on a real Dask cluster: a scheduler and two workers on loopback, one of them killed with SIGKILL.

Needs the extra ``dask``: ``make dask`` installs it, and CI runs this file; ``make test`` does not collect it. Nothing
here is skipped.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from engine_works import Fails, Square, Takes

from planner.commands.app import main
from planner.engine import Engine, Limits, Store, dask
from planner.files.flag_values import UsageFault

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))
from sweep_runs import FILES, command, plans, rows, swept, without_clock

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
    "DASK_DISTRIBUTED__WORKER__DAEMON": "False",
}


@dataclass
class Cluster:
    """Processes of a scheduler and its workers, and where it listens."""

    address: str
    folder: Path
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self) -> None:
        words = ["worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        self.workers.append(started([*words, "--local-directory", str(self.folder)], self.folder / "worker.log"))


def started(words: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen([sys.executable, "-m", "dask", *words], stdout=stream, stderr=stream, env=ENVIRONMENT)


def until(what: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    log = tmp_path / "scheduler.log"
    scheduler = started(["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"], log)
    until(lambda: re.search(rb"Scheduler at: +(tcp://\S+)", log.read_bytes()))
    found = re.search(rb"Scheduler at: +(tcp://\S+)", log.read_bytes())
    assert found is not None
    made = Cluster(found[1].decode(), tmp_path, scheduler)
    try:
        made.add_worker()
        made.add_worker()
        until(lambda: log.read_bytes().count(b"Register worker") >= 2)
        yield made
    finally:
        for process in (*made.workers, scheduler):
            process.kill()
            process.wait()


def begun(log: Path) -> list[tuple[int, int]]:
    """Numbers and processes of the work that has begun."""
    return [(int(a), int(b)) for a, b in map(str.split, log.read_text("ascii").splitlines())] if log.exists() else []


def test_a_killed_worker_costs_the_work_it_was_at(cluster: Cluster, tmp_path: Path) -> None:
    """The scheduler gives it to the other one; all results are there and kept."""
    log, store = tmp_path / "log", Store(tmp_path / "kept")
    works = [Square(n, str(log), 1.0) for n in range(6)]
    with Engine(dask(cluster.address), store) as engine:
        until(lambda: engine.workers == 2)
        for work in works:
            engine.submit(work)
        until(lambda: len({process for _, process in begun(log)}) == 2)
        killed = cluster.workers[0].pid
        os.kill(killed, signal.SIGKILL)
        found = {}
        while engine.pending:
            found |= {outcome.work.n: outcome.result for outcome in engine.wait()}
    assert found == {n: {"square": n * n, "threads": 1} for n in range(6)}
    often = Counter(n for n, _ in begun(log))
    assert sorted(often.values()) == [1, 1, 1, 1, 1, 2]
    assert all(store.read(work) is not None for work in works)


def test_reasons_and_limits(cluster: Cluster) -> None:
    """A worker has other things to do, so that its memory is looked at."""
    with Engine(dask(cluster.address), None, Limits(memory=float(2**20))) as engine:
        (outcome,) = engine.run([Takes(1, seconds=1.0, bytes=2**20)])
    assert outcome.reason.startswith("it takes more memory than its limit")
    with Engine(dask(cluster.address)) as engine:
        found = {o.work.n: o.reason for o in engine.run([Fails(1), Fails(2, how="raised")])}
    assert found == {1: "too little memory by 3 GiB", 2: "internal error: RuntimeError: a fault?of two lines"}


def test_what_runs_is_asked_to_stop(cluster: Cluster, tmp_path: Path) -> None:
    """After Ctrl-C of the client the worker does not go on with what nobody waits for."""
    log = tmp_path / "log"
    cluster.workers[1].kill()
    engine = Engine(dask(cluster.address))
    until(lambda: engine.workers == 1)
    with pytest.raises(KeyboardInterrupt), engine:
        engine.submit(Takes(1, str(log), seconds=1.0, bytes=10))
        until(lambda: cluster_is_busy(engine))
        raise KeyboardInterrupt
    before = time.monotonic()
    with Engine(dask(cluster.address)) as again:
        (outcome,) = again.run([Square(2, str(log))])
    assert outcome.result is not None and time.monotonic() - before < 15, "a wait of 20 s was cut short"


def test_a_scheduler_that_ends_is_a_reason(cluster: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Engine(dask(cluster.address)) as engine:
        for n in range(4):
            engine.submit(Square(n, str(log), 5.0))
        until(lambda: begun(log))
        cluster.scheduler.kill()
        found = []
        while engine.pending:
            found += engine.wait()
    assert sorted(o.work.n for o in found) == [0, 1, 2, 3]
    assert all(o.result is None and o.reason for o in found)


def cluster_is_busy(engine: Engine) -> bool:
    client = engine.executor.client  # type: ignore[attr-defined]
    return any(client.processing().values())


def test_a_sweep_is_the_same_with_a_worker_killed(cluster: Cluster, tmp_path: Path) -> None:
    grid = ["--memory-cap", "1,3,7", "--copies", "1,2", "--effort", "60", "--baselines", "1f1b"]
    here = swept(tmp_path / "here", *grid, "--processes", "2")
    process = subprocess.Popen(
        command(tmp_path / "there", *grid, "--dask", cluster.address), stderr=subprocess.PIPE, env=ENVIRONMENT
    )
    until(lambda: list(tmp_path.glob("there/results/*.json")))
    cluster.workers[0].kill()
    _, said = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert without_clock(rows(tmp_path / "there")) == without_clock(here)
    assert plans(tmp_path / "there") == plans(tmp_path / "here")


def test_what_cannot_be_reached_is_one_line(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sweep", *FILES, "-o", str(tmp_path / "out"), "--dask"]
    assert main([*arguments, "tcp://127.0.0.1:1"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("planner: no Dask scheduler answers at 'tcp://127.0.0.1:1'") and said.count("\n") == 1
    assert main([*arguments, "nowhere"]) == 2 and capsys.readouterr().err.count("\n") == 1
    for worker in cluster.workers:
        worker.kill()
        worker.wait()
    with pytest.raises(UsageFault, match="has no worker"):
        dask(cluster.address)
    assert not (tmp_path / "out").exists()
