"""Rivals without a planner: a contiguous split, and the best baseline's order on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from case_studies.loads import period
from case_studies.splits import Split, busiest_stage, even, proportional
from planner.baselines.operators import Pipeline, replay_streams
from planner.baselines.registry import SCHEDULES
from planner.problem import Placement, Problem
from planner.timetable.figures import figures

ORDERS = ("1f1b", "zb1p", "zb2p")
SPLITS = ("even", "by speed", "dynamic program")


@dataclass(frozen=True)
class Rival:
    """One split with one order, replayed with the same costs, transfers and channels as every plan."""

    split: str
    order: str
    devices: str  # the order of the cluster's devices
    makespan: float
    period: float
    bubble_ratio: float
    peak_memory: float
    fits: bool


def rivals(problem: Problem) -> list[dict[str, Any]]:
    """The best rival of each kind of split: the shortest that fits, else the shortest, as a row."""
    found = list(_all(problem))
    best = []
    for split in SPLITS:
        those = [rival for rival in found if rival.split == split]
        if those:
            best.append(asdict(min(those, key=lambda rival: (not rival.fits, rival.makespan))))
    return best


def least_period(problem: Problem) -> list[dict[str, Any]]:
    """The same by period, for an unlimited stream of microbatches."""
    found = list(_all(problem))
    return [
        asdict(min((r for r in found if r.split == split), key=lambda rival: (not rival.fits, rival.period)))
        for split in SPLITS
        if any(r.split == split for r in found)
    ]


def _all(problem: Problem) -> Iterator[Rival]:
    for split, devices, placed in _splits(problem):
        placement = Placement.single(placed.device_of(problem.n_operators), split)
        for order in ORDERS if problem.training else ("1f1b",):
            yield replayed(problem, placed, placement, order, split, devices)


def _splits(problem: Problem) -> Iterator[tuple[str, str, Split]]:
    """Every kind of split over the devices in the cluster's order and, if they differ, in reverse order."""
    orders = [("as listed", list(range(problem.n_devices)))]
    if len(problem.device_classes) > 1:
        orders.append(("reversed", list(reversed(range(problem.n_devices)))))
    for name, devices in orders:
        for split, placed in (("even", even(problem, devices)), ("by speed", proportional(problem, devices))):
            if placed is not None:
                yield split, name, placed
        plain, small = (busiest_stage(problem, devices, in_memory) for in_memory in (False, True))
        for placed in dict.fromkeys((plain, small)):
            if placed is not None:
                yield "dynamic program", name, placed


def replayed(problem: Problem, placed: Split, placement: Placement, order: str, split: str, devices: str) -> Rival:
    """The figures of one order on one split."""
    rows = SCHEDULES[order].rows(len(placed.stages), problem.microbatches, 1)
    if not problem.training:
        rows = [row.forwards() for row in rows]
    found = figures(problem, replay_streams(Pipeline(problem, placed.stages, placed.devices, placement, rows)))
    return Rival(
        split,
        order if problem.training else "forward",
        devices,
        found.makespan,
        period(problem, placement.device_of[0]),
        found.bubble_ratio,
        found.peak_memory,
        found.fits,
    )
