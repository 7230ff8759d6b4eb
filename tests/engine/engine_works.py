"""Pieces of work for tests of the engine. Processes of their own import this file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from planner.engine import Limits, Refused, stop_event


@dataclass(frozen=True)
class Square:
    """``n`` squared, after some seconds; it leaves a line in ``log`` each time it begins."""

    n: int
    log: str = ""
    seconds: float = 0.0

    @property
    def key(self) -> Mapping[str, object]:
        return {"kind": "square", "n": self.n}

    @property
    def label(self) -> str:
        return f"square {self.n}"

    def run(self, limits: Limits) -> dict[str, Any]:
        if self.log:
            with open(self.log, "a", encoding="ascii") as stream:
                stream.write(f"{self.n} {os.getpid()}\n")
        time.sleep(self.seconds)
        return {"square": self.n**2, "threads": limits.threads}


@dataclass(frozen=True)
class Killed(Square):
    """Ends its own process by SIGKILL the first ``times`` times."""

    times: int = 1

    def run(self, limits: Limits) -> dict[str, Any]:
        found = super().run(limits)
        begun = [line.split()[0] for line in Path(self.log).read_text("ascii").splitlines()]
        if begun.count(str(self.n)) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        return found


@dataclass(frozen=True)
class Fails(Square):
    """Refuses or raises, as ``how`` says."""

    how: str = "refused"

    @property
    def key(self) -> Mapping[str, object]:
        return {"kind": self.how, "n": self.n}

    def run(self, limits: Limits) -> dict[str, Any]:
        super().run(limits)
        if self.how == "refused":
            raise Refused("too little memory by 3 GiB", 3)
        if self.how == "unkept":
            raise Refused("not this time", 4, keep=False)
        raise RuntimeError("a fault\nof two lines")


@dataclass(frozen=True)
class Takes(Square):
    """Takes so many bytes of memory, and looks whether it should stop for at most 20 s."""

    bytes: int = 0

    def run(self, limits: Limits) -> dict[str, Any]:
        held = np.ones(self.bytes, dtype=np.uint8)
        stop_event().wait(20.0 if self.seconds else 0.0)
        return {"held": int(held[-1]), "stopped": stop_event().is_set()}
