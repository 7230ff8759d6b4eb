"""The baselines by name.

A new one is a file with ``rows(ranks, microbatches)``, or with ``chunks`` as a third argument, and an entry of
``SCHEDULES`` that says where its stages go. That is all: the commands, the report and the search take the names from
here. docs/extending.md shows it; docs/baselines.md lists the orders and their sources.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from planner.baselines import (
    dualpipe,
    dualpipev,
    gpipe,
    interleaved_1f1b,
    one_f_one_b,
    v_half,
    v_min,
    zb1p,
    zb2p,
    zbv,
)
from planner.baselines.action import NotApplicable
from planner.baselines.choices import best_choice, choice_named, posed
from planner.baselines.operators import Pipeline, replay_blocks, replay_streams
from planner.baselines.row import Rows
from planner.placement.kinds import Versions
from planner.placement.versions import different_choices
from planner.problem import Placement, Problem
from planner.problem.partition import atoms, partition
from planner.timetable.figures import figures
from planner.timetable.timetable import Timetable

Layout = tuple[tuple[int, ...], ...]
"""``layout[copy][stage]``: the device that runs the stage, by number."""


def looped(ranks: int, chunks: int) -> Layout:
    """One copy, stage s on device s mod ``ranks``; with one chunk that is stage s on device s."""
    return (tuple(range(ranks)) * chunks,)


def both_ways(ranks: int, chunks: int) -> Layout:
    """Two copies, from one end each, one stage per device."""
    assert chunks == 1
    return (tuple(range(ranks)), tuple(reversed(range(ranks))))


def there_and_back(ranks: int, chunks: int) -> Layout:
    """One copy in a V: stages r and 2P-1-r on device r."""
    assert chunks == 2
    return ((*range(ranks), *reversed(range(ranks))),)


def unchunked(rows: Callable[[int, int], Rows]) -> Callable[[int, int, int], Rows]:
    """An order of one stage per device with the arguments of ``Schedule.rows``."""
    return lambda ranks, microbatches, chunks: rows(ranks, microbatches)


def two_chunks(title: str, rows: Callable[[int, int], Rows]) -> Callable[[int, int, int], Rows]:
    """An order of exactly two stages per device with the arguments of ``Schedule.rows``."""

    def checked(ranks: int, microbatches: int, chunks: int) -> Rows:
        if chunks != 2:
            raise NotApplicable(f"{title} has two chunks on every device, there and back, not {chunks}")
        return rows(ranks, microbatches)

    return checked


@dataclass(frozen=True)
class Schedule:
    """A baseline: its order, where its stages go, and how its actions run.

    ``rows(ranks, microbatches, chunks)`` raises ``NotApplicable`` for numbers that the baseline does not take.
    ``layout(ranks, chunks)`` places ``ranks`` times ``chunks`` stages. A baseline with ``chunks`` above 1 is a
    chunked one: then ``Problem.chunks``, where given, says how many stages a device has.
    ``fused``: actions are blocks whose outputs leave at their end; else streams overlap across actions.
    ``forwards``: the order makes sense without its backwards, so it serves for inference, too.
    """

    title: str
    rows: Callable[[int, int, int], Rows]
    layout: Callable[[int, int], Layout] = looped
    chunks: int = 1
    fused: bool = False
    forwards: bool = False
    even_ranks: bool = False
    family: str = "linear"  # the layout, as the flag names it


def v_shaped(title: str, rows: Callable[[int, int], Rows], fused: bool = False) -> Schedule:
    """A baseline of two chunks on every device, there and back."""
    return Schedule(title, two_chunks(title, rows), there_and_back, chunks=2, fused=fused, family="vshape")


SCHEDULES: dict[str, Schedule] = {
    "gpipe": Schedule("GPipe", unchunked(gpipe.rows), forwards=True),
    "1f1b": Schedule("1F1B", unchunked(one_f_one_b.rows), forwards=True),
    "interleaved-1f1b": Schedule("interleaved 1F1B", interleaved_1f1b.rows, chunks=2, family="interleaved"),
    "zb1p": Schedule("ZB1P", unchunked(zb1p.rows)),
    "zb2p": Schedule("ZB2P", unchunked(zb2p.rows)),
    "zbv": v_shaped("ZB-V", zbv.rows),
    "v-half": v_shaped("V-Half", v_half.rows),
    "v-min": v_shaped("V-Min", v_min.rows),
    "dualpipe": Schedule(
        "DualPipe", unchunked(dualpipe.rows), both_ways, fused=True, even_ranks=True, family="bidirectional"
    ),
    "dualpipe-unfused": Schedule(
        "DualPipe", unchunked(dualpipe.rows), both_ways, even_ranks=True, family="bidirectional"
    ),
    "dualpipev": v_shaped("DualPipe-V", dualpipev.rows, fused=True),
}

BASELINES: Collection[str] = SCHEDULES.keys()
"""The names of all baselines, in the order in which they are reported."""


def baseline_timetable(name: str, problem: Problem, variant: str | None = None) -> Timetable:
    """The timetable of a baseline on the problem's graph and cluster, whatever memory it takes.

    ``variant``: the name of what all operators are that have it (``base``: as they stand). None: the best choice that
    fits in memory. Raises ``NotApplicable`` with the reason where the baseline does not fit the problem, and
    ``ProblemError`` for a variant that the problem does not allow.
    """
    if variant is not None:
        return timetable_in(name, problem, choice_named(problem, variant))
    found, refused = every_timetable(name, problem)
    if not found:
        raise refused[0]
    if len(found) == 1:
        return next(iter(found.values()))
    return found[best_choice({choice: figures(problem, each) for choice, each in found.items()})]


def every_timetable(
    name: str, problem: Problem, ended: Callable[[], bool] = lambda: False
) -> tuple[dict[str, Timetable], list[NotApplicable]]:
    """The timetables of a baseline by choice of versions, and the reasons why there are none of others.

    Once ``ended`` and there is one, the choices that are left are not replayed.
    """
    found: dict[str, Timetable] = {}
    refused: list[NotApplicable] = []
    for choice, versions in different_choices(problem).items():
        if found and ended():
            break
        try:
            found[choice] = timetable_in(name, problem, versions)
        except NotApplicable as reason:
            refused.append(reason)
    return found, refused


def timetable_in(name: str, problem: Problem, versions: Versions) -> Timetable:
    """The timetable of a baseline with its operators in these versions, its stages cut for their times."""
    pipeline = baseline_pipeline(name, problem, versions)
    timetable = replay_blocks(pipeline) if SCHEDULES[name].fused else replay_streams(pipeline)
    return posed(problem, versions, timetable)


def baseline_pipeline(name: str, problem: Problem, versions: Versions | None = None) -> Pipeline:
    """Stages, placement and rows of a baseline; raises as ``baseline_timetable`` does.

    They are of the problem with every operator in one of ``versions`` (by default, its first), without alternatives.
    """
    problem = problem.default if versions is None else _in(problem, versions)
    schedule = SCHEDULES[name]
    if not problem.training and not schedule.forwards:
        raise NotApplicable(f"{schedule.title} orders backward passes; the graph is in inference mode")
    if schedule.even_ranks and problem.n_devices % 2:
        raise NotApplicable(f"{schedule.title} needs an even number of devices, not {problem.n_devices}")
    chunks = problem.chunks or schedule.chunks if schedule.chunks > 1 else 1
    devices = range(_ranks(problem, schedule, chunks))
    rows = schedule.rows(len(devices), problem.microbatches, chunks)
    if not problem.training:
        rows = [row.forwards() for row in rows]
    layout = schedule.layout(len(devices), chunks)
    stages = partition(problem, list(zip(*layout, strict=True)))
    if stages is None:
        raise NotApplicable(
            f"no contiguous stages for {schedule.title}: the operators' devices, labels and pass times forbid every "
            "way to cut the graph along the cluster's order of devices"
        )
    placement = Placement(tuple(_placed(problem, stages, ranks) for ranks in layout), f"stages of {name}")
    return Pipeline(problem, stages, devices, placement, rows)


def _in(problem: Problem, versions: Versions) -> Problem:
    """The problem with operators in these versions; itself where they are the only ones there are."""
    return problem.default if versions == problem.first_versions else problem.chosen(versions)


def _ranks(problem: Problem, schedule: Schedule, chunks: int) -> int:
    """The number of devices used: all, or the first ones if the graph has too few segments."""
    segments = len(atoms(problem, shared=chunks > 1))
    ranks = min(problem.n_devices, segments // chunks)
    if schedule.even_ranks:
        ranks -= ranks % 2
    if ranks == 0:
        raise NotApplicable(
            f"{schedule.title} needs at least {chunks * (2 if schedule.even_ranks else 1)} stages; "
            f"the graph can be cut into {segments}"
        )
    return ranks


def _placed(problem: Problem, stages: Sequence[Sequence[int]], ranks: Sequence[int]) -> tuple[int, ...]:
    device_of = [0] * problem.n_operators
    for stage, rank in zip(stages, ranks, strict=True):
        for i in stage:
            device_of[i] = rank
    return tuple(device_of)
