"""The versions that baselines run their operators in: all at base, or all that have it at one variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.common.messages import did_you_mean, shown
from planner.placement.kinds import Versions
from planner.placement.versions import in_versions, uniform_choices
from planner.problem import Placement, Problem, ProblemError
from planner.problem.names import reject_unknown_variants
from planner.timetable.figures import Figures
from planner.timetable.timetable import Timetable


def choice_named(problem: Problem, name: str) -> Versions:
    """The versions of a choice. Raises ``ProblemError`` for a name that is unknown or not allowed."""
    reject_unknown_variants(problem.graph, [name])
    choices = uniform_choices(problem)
    if name not in choices:
        raise ProblemError(f"variant {shown(name)} is not allowed here: {did_you_mean(name, choices)}")
    return choices[name]


def choice_of(problem: Problem, placement: Placement) -> str | None:
    """The name of the choice that a placement makes; None where the graph has no variants."""
    if not any(operator.variants for operator in problem.operators):
        return None
    versions = problem.versions_of(placement, 0)
    return next((name for name, each in uniform_choices(problem).items() if each == versions), None)


def posed(problem: Problem, versions: Versions, timetable: Timetable) -> Timetable:
    """The timetable of ``problem.chosen(versions)`` as one of the problem."""
    if versions == problem.first_versions:
        return timetable
    return replace(timetable, placement=in_versions(problem, timetable.placement, versions))


def best_choice(found: Mapping[str, Figures]) -> str:
    """The choice with the shortest step of those that fit in memory; where none does, the one that lacks least."""

    def rank(name: str) -> tuple[bool, float]:
        figures = found[name]
        lacking = max(device.peak_memory - (device.memory or device.peak_memory) for device in figures.devices)
        return not figures.fits, figures.makespan if figures.fits else lacking

    return min(found, key=rank)
