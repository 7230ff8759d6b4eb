"""Output files: whole, or into pipes and devices as they are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
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
