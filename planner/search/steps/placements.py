"""Placements to try: those of the families, any that fits if none of them does, and free placements."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from planner.common.ahead import Ahead, Later
from planner.common.budget import Control
from planner.common.threads import side_by_side
from planner.placement.earliest import earliest_finish_placement
from planner.placement.layouts import Family, all_cuts, on_all_devices, only_placement
from planner.placement.merge import describe, merge, refined
from planner.placement.versions import Energy, in_versions, is_leanest, leanest, placements_in_versions
from planner.problem import Impossible, Placement, Problem
from planner.search.params import PlacementParams
from planner.search.state import SearchState

if TYPE_CHECKING:  # it loads PuLP and HiGHS
    from planner.placement.assignment import Assignment

CHOICES_AT_MOST = 64
"""Choices of versions that are tried one by one if nothing fits."""

STRETCH = 1.5
"""How much longer than its passes a microbatch is held, where versions are balanced on a free placement."""


@dataclass(frozen=True)
class FamilyPlacements:
    """Schedule the placements of the families by known rules, ranked and pruned by their bounds."""

    name: str = "family placements"

    def supports(self, state: SearchState) -> bool:
        """Always."""
        return True

    def run(self, state: SearchState) -> None:
        """Rank, prune, schedule: first those on all devices, then those on fewer, unless that is too much work."""
        problem, on_all = state.problem, on_all_devices(state.problem)
        state.try_all(state.by_bound(first_placements(problem, state.params.placements, on_all)))
        work = problem.microbatches * _least_work(problem)

        def on_fewer(family: Family) -> bool:
            best = state.incumbent.best
            return not on_all(family) and (best is None or work / len(family.devices) < best.makespan)

        if problem.layout == "auto":  # a layout that was asked for is on all devices
            state.try_all(state.by_bound(placements_in_versions(problem, on_fewer)))
        state.prepared.clear()  # the others take memory


@dataclass(frozen=True)
class AnyThatFits:
    """If nothing has fitted so far: a placement that does, or the proof that there is none."""

    name: str = "any placement that fits"

    def supports(self, state: SearchState) -> bool:
        """Whether there is no schedule yet."""
        return state.incumbent.best is None

    def run(self, state: SearchState) -> None:
        """Schedule what is found. Raises ``Impossible`` with the proof."""
        only, control = only_placement(state.problem), state.incumbent.control
        for placement in any_that_fits(state.problem, only, control):
            state.try_placement(placement)


@dataclass(frozen=True)
class ProposePlacements:
    """Schedule free placements, and the best placement with second copies."""

    name: str = "propose placements"

    def supports(self, state: SearchState) -> bool:
        """Whether the layout is free."""
        return state.problem.layout == "auto"

    def begin(self, state: SearchState, ahead: Ahead) -> None:
        """Begin to solve the assignment MIPs ahead."""
        if self.supports(state):
            state.later[self.name] = _begun(state, ahead, merge(state.problem))

    def run(self, state: SearchState) -> None:
        """Earliest finish and the assignment MIP, then second copies."""
        state.try_all(proposals(state, state.later.pop(self.name, ())))
        for search in state.ranked[:1]:
            state.try_all(second_copies(state.problem, search.full.placement))


def _least_work(problem: Problem) -> float:
    """Seconds of compute of a microbatch, each operator in its quickest version on its fastest device."""
    from planner.bounds.waits import fastest

    return float(fastest(problem.relaxed)[~problem.on_comm].sum())


def first_placements(
    problem: Problem, params: PlacementParams, wanted: Callable[[Family], bool]
) -> Iterator[Placement]:
    """Those of the families that are wanted; with many operators and few microbatches also that by earliest finish.

    There the latency of a microbatch matters most, and all later steps take long.
    """
    yield from placements_in_versions(problem, wanted)
    few = problem.microbatches <= params.few_microbatches and problem.n_operators > params.many_operators
    if problem.layout == "auto" and few:
        yield earliest_finish_placement(problem)


def proposals(state: SearchState, later: Sequence[Later[_Assignments]] = ()) -> Iterator[Placement]:
    """Free placements: by earliest finish, and from the assignment MIP over merged groups, where begun as ``later``.

    What was merged goes into the notes. None where the layout is not free.
    """
    problem, control = state.problem, state.incumbent.control
    if problem.layout != "auto":
        return
    yield earliest_finish_placement(problem)
    groups = merge(problem)
    line = describe(problem, groups)
    if line:
        state.notes.append(line)
    control.report(f"assignment MIP, {' and '.join(map(str, _depths(problem)))} microbatches in flight")
    later = later or _begun(state, Ahead(control, 1), groups)
    for found in side_by_side(lambda each: each.result(), later, state.threads):
        control.spend(found.nodes)
        state.notes.extend(found.notes)
        yield from found.placements


@dataclass
class _Assignments:
    """What the assignment MIP proposes for some microbatches in flight; notes, and the nodes that it took."""

    placements: list[Placement] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nodes: int = 0


def _depths(problem: Problem) -> list[int]:
    """For how many microbatches in flight assignments are made: many and few."""
    return sorted({1, min(problem.microbatches, problem.n_devices)}, reverse=True)


def _begun(state: SearchState, ahead: Ahead, groups: Sequence[Sequence[int]]) -> list[Later[_Assignments]]:
    """The assignments of the groups, for each number of microbatches in flight; what takes longer is begun first."""
    problem, params, depths = state.problem, state.params.placements, _depths(state.problem)
    begun = {held: ahead.begin(partial(_assignments, problem, params, groups, held)) for held in reversed(depths)}
    return [begun[held] for held in depths]


def _assignments(
    problem: Problem, params: PlacementParams, groups: Sequence[Sequence[int]], held: int, control: Control
) -> _Assignments:
    """The best assignment of the groups found, then with groups refined at the boundaries of its devices."""
    some = _Assignments()
    in_flight = f"{held} microbatches in flight"
    found = _assignment(problem, params, groups, held, control, some)
    if found is None:
        return some
    some.placements.append(_assigned(problem, found, f"assignment MIP ({held} in flight)"))
    finer = refined(problem, groups, found.device_of)
    if finer is None or control.over:
        return some
    again = _assignment(problem, params, finer, held, control, some)
    some.notes.append(f"level 1 refined groups at device boundaries, {in_flight}: {len(groups)} -> {len(finer)}")
    if again is not None:
        some.placements.append(_assigned(problem, again, f"assignment MIP ({held} in flight, groups refined)"))
    return some


def _assignment(
    problem: Problem,
    params: PlacementParams,
    groups: Sequence[Sequence[int]],
    held: int,
    control: Control,
    some: _Assignments,
) -> Assignment | None:
    """What the MIP finds; with many columns for versions, all operators are in their first one."""
    from planner.placement.assignment import AssignmentModel

    most = max(map(len, problem.versions))
    large = len(groups) * problem.n_devices * most > params.assigned_versions
    model = AssignmentModel(problem.default if problem.free and large else problem, groups, held)
    found = model.solve(control, params.assignment_nodes)
    some.nodes += model.spent
    return found


def _assigned(problem: Problem, found: Assignment, origin: str) -> Placement:
    placement = in_versions(problem, Placement.single(found.device_of, origin), found.versions)
    if found.versions == problem.first_versions and problem.free:
        return Energy(problem).balanced(placement, STRETCH) or placement
    return placement


def second_copies(problem: Problem, placement: Placement) -> Iterator[Placement]:
    """A placement of one copy with second copies, half of the devices away, for half of the microbatches.

    First of the operators of the last virtual-stage round only (gradients begin there, then on twice as many devices),
    then of all operators. Nothing if only one copy is allowed, or devices are not alike.
    """
    where = placement.device_of[0]
    devices = sorted(set(where))
    if (
        placement.copies > 1
        or problem.copies < 2
        or problem.layout != "auto"
        or len(devices) < 2
        or len(problem.device_classes) > 1
    ):
        return
    away = {d: devices[(n + len(devices) // 2) % len(devices)] for n, d in enumerate(devices)}
    (stage_round,) = placement.stage_rounds(problem.topological)
    for first, what in {max(stage_round): "the last virtual-stage round", 0: "all"}.items():
        copy = tuple(away[d] if at >= first else d for d, at in zip(where, stage_round, strict=True))
        both = Placement(
            (where, copy),
            f"{placement.origin}, second copies of {what}",
            placement.variant_of and 2 * placement.variant_of,
        )
        if problem.allows_copies(both):
            yield both


def any_that_fits(problem: Problem, only: Placement | None, control: Control) -> Iterator[Placement]:
    """If no placement has fitted so far: one that does, if it is found in time.

    ``only``: the only placement that the layout allows, where that is known. Raises ``Impossible`` with the proof
    that nothing fits.
    """
    from planner.placement.fit import find_fit, fits, more_memory

    if problem.free:
        yield from _any_in_versions_that_fits(problem, control)
        return
    if only is not None:
        if fits(problem, only) is False:  # proven, not only cut off by the deadline
            raise Impossible(_why_not(problem, only))
        return
    control.report("a placement that fits in memory")
    free = find_fit(problem, control)
    if problem.layout == "auto":
        if free is not None:
            yield free
        return
    cuts = all_cuts(problem)
    if cuts is None:
        return
    decided = True
    for placement in cuts:
        if control.over:
            return
        if not all(problem.allows(copy) for copy in placement.device_of):
            continue
        answer = fits(problem, placement)
        if answer:
            yield placement
            return
        decided &= answer is not None
    if decided:
        raise Impossible(
            f"no placement of layout {problem.layout} fits its parameters and the activations of one microbatch in "
            "memory: all cuts of the topological order nearest to the file's have been checked"
            + ("; without --layout there are placements that fit" if free is not None else more_memory(problem))
        )


def _any_in_versions_that_fits(problem: Problem, control: Control) -> Iterator[Placement]:
    """The same with every operator in the version of the least memory, or in any that there are.

    Nothing fits where nothing does in every choice of versions, or with the least of all versions.
    """
    lean = leanest(problem)
    choices = [lean]
    if not is_leanest(problem, lean) and math.prod(map(len, problem.versions)) <= CHOICES_AT_MOST:
        choices = list(dict.fromkeys((lean, *product(*problem.versions))))
    refused: list[Impossible] = []
    for versions in choices:
        try:
            for placement in any_that_fits(problem.chosen(versions), None, control):
                yield in_versions(problem, placement, versions)
        except Impossible as impossible:
            refused.append(impossible)
    if len(refused) == len(choices):
        if len(choices) == 1 and not is_leanest(problem, lean):
            list(any_that_fits(problem.relaxed, None, control))
            return
        raise refused[0]


def _why_not(problem: Problem, placement: Placement) -> str:
    """What the only placement of a layout lacks."""
    needs = np.zeros(problem.n_devices)
    for d in range(problem.n_devices):
        here = [[i for i, e in enumerate(copy) if e == d] for copy in placement.device_of]
        parameters = math.fsum(problem.parameters[i] for i in {i for members in here for i in members})
        needs[d] = parameters + max(math.fsum(problem.activation[i] for i in members) for members in here)
    from planner.placement.fit import more_memory, show_bytes

    worst = int(np.argmax(needs - problem.cap))
    return (
        f"layout {problem.layout} allows one placement only, and in it device "
        f"{problem.cluster.devices[worst].name} needs {show_bytes(needs[worst])} of memory for parameters and the "
        f"activations of one microbatch but has {show_bytes(problem.cap[worst])}: "
        f"{show_bytes(needs[worst] - problem.cap[worst])} short{more_memory(problem)}"
    )
