"""A placement that fits in memory, or the proof that there is none, with the bytes that are missing.

A placement fits if one microbatch alone does (see ``memory``). What every placement must hold on a device is linear
in the assignment: parameters, and all activations of the operators there that lead to one sink (at the end of the
sink's F they are all held, in training), or those of one operator and its inputs (in inference). So a small MIP over
whole bytes finds how much every assignment lacks. An assignment that lacks nothing is tried.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from planner.common.budget import Control
from planner.placement.fit_model import FitModel, held_together
from planner.placement.memory import Need, microbatch_need, parameters_on
from planner.problem import Impossible, Placement, Problem
from planner.problem.problem import MEMORY_SLACK

CUTS_AT_MOST = 50


def fits(problem: Problem, placement: Placement) -> bool | None:
    """Whether one microbatch of each copy fits; None where that could not be decided."""
    room = problem.cap_with_slack - parameters_on(problem, placement)
    owns = problem.of_copies(placement)
    answers = [microbatch_need(own, copy, room) for own, copy in zip(owns, placement.device_of, strict=True)]
    if all(isinstance(answer, Need) for answer in answers):
        return True
    return False if any(answer is None for answer in answers) else None


def find_fit(problem: Problem, control: Control) -> Placement | None:
    """Look for a placement of one copy that fits; None if time or the number of tries ran out.

    One copy is enough: a plan of several copies contains one of a single copy, which holds no more. What the model
    proposes is tried. If it fails, the sets of operators that one device cannot hold are excluded, and the model is
    asked again (combinatorial Benders cuts). Raises ``Impossible`` with the least amount that is missing where nothing
    is left to propose.
    """
    if not np.isfinite(problem.cap).any():
        return Placement.single(_first_devices(problem), "any")
    _operators_fit_alone(problem)
    _all_together_fit(problem)
    model = FitModel(problem)
    least: tuple[float, tuple[int, ...]] | None = None
    for _ in range(CUTS_AT_MOST):
        proposal = model.solve(control)
        if proposal.none_left and least is not None:
            raise Impossible(
                f"{_shortfall(problem, *least)} (the least of the placements that were examined){more_memory(problem)}"
            )
        if proposal.device_of is None:
            return None
        placement = Placement.single(proposal.device_of, "least memory")
        if proposal.lacking > 0:
            raise Impossible(_shortfall(problem, proposal.lacking, proposal.device_of) + more_memory(problem))
        answer = fits(problem, placement)
        if answer:
            return placement
        if answer is None:
            return None
        lacking = least_lacking(problem, proposal.device_of)
        if least is None or lacking < least[0]:
            least = (lacking, proposal.device_of)
        for device, operators in unfitting_sets(problem, proposal.device_of):
            model.forbid_together(device, operators)
        model.forbid(proposal.device_of)
    return None


def least_lacking(problem: Problem, device_of: Sequence[int]) -> float:
    """The least bytes by which every device would have to be larger for one microbatch to fit (within a byte)."""
    room = problem.cap_with_slack - parameters_on(problem, Placement.single(device_of))
    low, high = 0.0, float(problem.activation.sum() - min(0.0, room.min()))
    sizes = np.concatenate([problem.parameters, problem.activation])
    accuracy = 0.5 if (sizes == np.rint(sizes)).all() else 1e-6 * high
    while high - low > accuracy:
        middle = low + (high - low) / 2
        if isinstance(microbatch_need(problem, device_of, room + middle), Need):
            high = middle
        else:
            low = middle
    return math.ceil(low) if accuracy == 0.5 else high


def unfitting_sets(problem: Problem, device_of: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Operators (whole colocated groups) that a device cannot hold, wherever all others are; as few as possible.

    More operators on a device never hold less memory there, so that every set that contains one of these fails too.
    """
    found: list[tuple[int, list[int]]] = []
    if problem.n_devices == 1:
        return found
    for d in sorted(set(device_of)):
        groups = [g for g in problem.groups if device_of[g[0]] == d]
        if not _fails_alone(problem, d, groups):
            continue
        for g in list(groups):
            fewer = [h for h in groups if h is not g]
            if fewer and _fails_alone(problem, d, fewer):
                groups = fewer
        found.append((d, [i for g in groups for i in g]))
    return found


def _fails_alone(problem: Problem, device: int, groups: Sequence[Sequence[int]]) -> bool:
    """Whether a device provably cannot hold these groups, all others being elsewhere with enough memory."""
    here = {i for g in groups for i in g}
    elsewhere = (device + 1) % problem.n_devices
    device_of = [device if i in here else elsewhere for i in range(problem.n_operators)]
    room = np.full(problem.n_devices, np.inf)
    room[device] = problem.cap_with_slack[device] - math.fsum(problem.parameters[sorted(here)])
    return microbatch_need(problem, device_of, room) is None


def _first_devices(problem: Problem) -> list[int]:
    device_of = [0] * problem.n_operators
    for g, members in enumerate(problem.groups):
        for i in members:
            device_of[i] = int(np.argmax(problem.group_runs_on[g]))
    return device_of


def _operators_fit_alone(problem: Problem) -> None:
    """Raise ``Impossible`` where no device can hold an operator (or a colocated group) by itself."""
    for members in problem.groups:
        parameters = math.fsum(problem.parameters[list(members)])
        activation = max(float(problem.activation[i]) for i in members)
        allowed = [d for d in range(problem.n_devices) if problem.runs_on[list(members), d].all()]
        room = max(float(problem.cap[d]) for d in allowed)
        if parameters + activation > room * (1 + MEMORY_SLACK):
            names = ", ".join(repr(problem.operators[i].name) for i in members[:3]) + (", ..." if members[3:] else "")
            best = problem.cluster.devices[max(allowed, key=lambda d: problem.cap[d])].name
            raise Impossible(
                f"operator {names} needs {show_bytes(parameters + activation)} of memory (parameters and one "
                f"activation), but the largest device that may run it, {best}, offers {show_bytes(room)} of memory: "
                f"{show_bytes(parameters + activation - room)} short{more_memory(problem)}"
            )


def _all_together_fit(problem: Problem) -> None:
    """Raise ``Impossible`` where all devices together cannot hold all parameters and one microbatch at a sink."""
    needed = math.fsum(problem.parameters)
    if problem.training:  # in inference two activations need not be held at the same time
        needed += max(math.fsum(problem.activation[list(together)]) for together in held_together(problem))
    offered = math.fsum(problem.cap) if np.isfinite(problem.cap).all() else math.inf
    if needed > offered * (1 + MEMORY_SLACK):
        each = (needed - offered) / problem.n_devices
        what = "parameters and activations of one microbatch" if problem.training else "parameters"
        raise Impossible(
            f"{what} take {show_bytes(needed)} of memory, the {problem.n_devices} devices "
            f"offer {show_bytes(offered)} together: {show_bytes(needed - offered)} short in all, at least "
            f"{show_bytes(math.ceil(each) if each >= 1 else each)} on one of them{more_memory(problem)}"
        )


def _shortfall(problem: Problem, lacking: float, device_of: Sequence[int]) -> str:
    """Which device lacks how much in the placement that lacks least."""
    placement = Placement.single(device_of)
    needs = parameters_on(problem, placement)
    np.add.at(needs, np.asarray(device_of), problem.activation)
    worst = int(np.argmax(needs - problem.cap))
    return (
        f"no placement fits in memory: in the one that lacks least, device {problem.cluster.devices[worst].name} is "
        f"{show_bytes(lacking)} short for its parameters and what one microbatch holds there; it offers "
        f"{show_bytes(float(problem.cap[worst]))}"
    )


def more_memory(problem: Problem) -> str:
    """What a message on missing memory ends with: which option sets the cap."""
    if problem.memory_cap is not None:
        return "; --memory-cap sets the cap, raise it"
    return "; --memory-cap SIZE plans for another cap than the cluster file's"


def show_bytes(size: float) -> str:
    """Bytes in full and, where that helps, in a larger unit."""
    exact = f"{size:,.0f} B" if size == int(size) else f"{size:,.3f} B"
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{exact} ({size / factor:.2f} {unit})"
    return exact
