"""The reports of a racer's process: lines of JSON on stdout, with seconds since it was started."""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any


class Reporter:
    """Writes a line for every better plan and every better bound. ``began``: time.monotonic() before the process."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.best: float | None = None
        self.bound: float | None = None
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        """Seconds since before the process was started."""
        return time.monotonic() - self.began

    def news(self, best: float | None = None, bound: float | None = None, **more: Any) -> None:
        """Report makespan and bound if they are better than before, and all of ``more``."""
        with self._lock:
            if best is not None and (self.best is None or best < self.best * (1 - 1e-9)):
                self.best = more["best"] = float(f"{best:.12g}")
            if bound is not None and (self.bound is None or bound > self.bound * (1 + 1e-9)):
                self.bound = more["bound"] = float(f"{bound:.12g}")
            if more:
                print(json.dumps({"t": round(self.elapsed, 3), **more}), flush=True)


def arguments() -> tuple[str, Reporter, float, list[str]]:
    """The file to read, the reporter, the limit in seconds since the start of the process, further arguments."""
    path, began, limit, *more = sys.argv[1:]
    return path, Reporter(float(began)), float(limit), more
