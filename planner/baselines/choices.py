"""The versions that baselines run their operators in: all at base, or all that have it at one variant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from planner.common.messages import did_you_mean, shown
from planner.problem import Placement, Problem, ProblemError
from planner.problem.graph import BASE
from planner.problem.names import reject_unknown_variants
from planner.timetable.figures import Figures
from planner.timetable.timetable import Timetable

Versions = tuple[int, ...]


def uniform_choices(problem: Problem) -> dict[str, Versions]:
    """The versions of all operators, by the name that the choice has: ``base``, or that of a variant.

    An operator that has no variant of that name is at base or, where that is not allowed, in its first version.
    """
    names = dict.fromkeys(name for operator in problem.operators for name in operator.versions)
    allowed = [name for name in names if problem.variants is None or name in problem.variants]
    return {name: _versions(problem, name) for name in allowed or [BASE]}


def _versions(problem: Problem, name: str) -> Versions:
    found = []
    for operator, some in zip(problem.operators, problem.versions, strict=True):
        number = operator.versions.index(name) if name in operator.versions else 0
        found.append(number if number in some else some[0])
    return tuple(found)


def different_choices(problem: Problem) -> dict[str, Versions]:
    """The same, without choices that are another one under a further name."""
    found: dict[str, Versions] = {}
    for name, versions in uniform_choices(problem).items():
        if versions not in found.values():
            found[name] = versions
    return found


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
    placement = timetable.placement
    return replace(timetable, placement=problem.in_versions(placement, (versions,) * placement.copies))


def best_choice(found: Mapping[str, Figures]) -> str:
    """The choice with the shortest step of those that fit in memory; where none does, the one that lacks least."""

    def rank(name: str) -> tuple[bool, float]:
        figures = found[name]
        lacking = max(device.peak_memory - (device.memory or device.peak_memory) for device in figures.devices)
        return not figures.fits, figures.makespan if figures.fits else lacking

    return min(found, key=rank)
