"""Output files: whole, or into pipes and devices as they are."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from planner.common import whole


def test_a_pipe_with_a_reader(tmp_path: Path) -> None:
    """A named pipe gets all of the content; looking whether it can be written waits for nobody."""
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    whole.ensure_writable(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    whole.write_whole(pipe, b"x" * 1_000_000)
    reader.join(10)
    assert [len(content) for content in read] == [1_000_000]


def test_a_pipe_without_a_reader_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "READER", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="nobody reads"):
        whole.write_whole(pipe, "text")


def test_stdout_as_a_file() -> None:
    """``-o /dev/stdout`` into a pipe, whose path does not exist."""
    script = "from planner.common.whole import *; ensure_writable('/dev/stdout'); write_whole('/dev/stdout', 'whole')"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "whole"


def test_a_signal_at_any_moment_leaves_nothing(tmp_path: Path) -> None:
    """Where the handler raises, as planner's does: the temporary file goes, whenever the signal comes."""

    class Terminated(BaseException):
        pass

    def handle(number: int, frame: object) -> None:
        raise Terminated

    chance, before = random.Random(1), signal.signal(signal.SIGALRM, handle)
    try:
        for _ in range(500):
            with contextlib.suppress(Terminated):
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, 4e-4))
                whole.ensure_writable(tmp_path / "out")
                whole.write_whole(tmp_path / "out", "content")
                time.sleep(0.01)
            assert {path.name for path in tmp_path.iterdir()} <= {"out"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
