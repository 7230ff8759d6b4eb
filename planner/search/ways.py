"""Ways to run a runtime's schedules: an order, stages and what is recomputed in them; and how good one is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from planner.baselines import SCHEDULES
from planner.common.tolerance import SAME
from planner.problem import BASE, Problem
from planner.runtimes.runtime import Runtime
from planner.timetable.figures import Figures
from planner.timetable.timetable import Timetable

Order = tuple[str, int]
"""A schedule and how many stages it has on a device."""

Rank = tuple[bool, float]
"""Whether memory is lacking, and how much (bytes); else the makespan (seconds). The least is the best."""

WORST: Rank = (True, math.inf)

Stages = tuple[tuple[int, ...], ...]
"""The units of every stage, by number: each unit is what stays together."""


@dataclass(frozen=True)
class Way:
    """A schedule on stages: ``first[s]`` units at the start of stage s are in the variant ``name``, the others base."""

    schedule: str
    chunks: int
    stages: Stages
    name: str
    first: tuple[int, ...]
    layers: int | None = None  # where the first so many layers of every stage are in the variant

    @property
    def is_mixed(self) -> bool:
        """Whether some layers are in the variant and others not."""
        return self.name != BASE and sum(self.first) < sum(map(len, self.stages))

    @property
    def told(self) -> str:
        """In words."""
        what = "" if self.name == BASE else f", all {self.name}"
        if self.layers is not None:
            what = f", {self.name} in the first {self.layers} layers of every stage"
            what = what.replace("first 1 layers", "first layer")
        elif self.is_mixed:
            what = f", {self.name} in some stages"
        return f"{SCHEDULES[self.schedule].title} on {len(self.stages)} stages{what}"


@dataclass(frozen=True)
class Ran:
    """A way as it runs."""

    way: Way
    timetable: Timetable
    figures: Figures

    @property
    def rank(self) -> Rank:
        """Of the figures."""
        return rank_of(self.figures)


def rank_of(figures: Figures) -> Rank:
    """The makespan where it fits in memory; else the bytes that are lacking on the device that lacks most."""
    if figures.fits:
        return False, figures.makespan
    return True, max(d.peak_memory - (d.memory or d.peak_memory) for d in figures.devices)


def is_better(new: Rank, old: Rank) -> bool:
    """Whether one rank is better than another by more than rounding."""
    if new[0] != old[0]:
        return not new[0]
    return new[1] < old[1] * (1 - SAME)


def without_pipeline(runtime: Runtime, problem: Problem) -> str | None:
    """Why a runtime that has no pipeline runs nothing on several devices; None where it may run something."""
    if runtime.pipeline or problem.n_devices == 1:
        return None
    return (
        f"{runtime.title} runs no pipeline, and the cluster has {problem.n_devices} devices, each a pipeline stage: "
        "give it one device, whose ranks are in the graph (import hf --data-parallel --zero 3)"
    )
