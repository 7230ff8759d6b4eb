"""Operators with alternatives: which versions a problem allows, and the problems that a choice among them leaves.

A *version* of an operator is its number: 0 is the operator as it stands (``base``), k its k-th variant. Level 2 and
all figures work on problems without alternatives, one for each copy (``Problem.of_copy``); bounds work on ``relaxed``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from planner.problem.cluster import Device
from planner.problem.graph import PASS_ORDER, ByDevice, Operator, Pass
from planner.problem.pass_times import pass_seconds

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Version:
    """The figures of one version of all operators; rows of operators that have no such version are base's.

    Shapes: ``duration`` (operators, 3, devices), inf where a device cannot run the pass; the others (operators,).
    """

    has_pass: npt.NDArray[np.bool_]
    duration: Floats
    parameters: Floats
    activation: Floats
    held: Floats
    runs_on: npt.NDArray[np.bool_]  # (operators, devices)


def allowed_versions(operators: Sequence[Operator], names: Collection[str] | None) -> tuple[tuple[int, ...], ...]:
    """The versions of each operator among ``names`` (None: all); base where it has none of these."""
    found = []
    for operator in operators:
        some = tuple(k for k, name in enumerate(operator.versions) if names is None or name in names)
        found.append(some or (0,))
    return tuple(found)


def version_of(
    operators: Sequence[Operator], devices: Sequence[Device], training: bool, allowed: Bools, number: int
) -> Version:
    """The figures of all operators in the version of that number; ``allowed[i, d]``: device d may run operator i."""
    rows: dict[int, Floats] = {}  # by the cost's identity: repetitions of a block share their costs
    n = len(operators)
    has_pass = np.zeros((n, 3), dtype=bool)
    duration = np.zeros((n, 3, len(devices)))
    parameters, activation, held = np.zeros(n), np.zeros(n), np.zeros(n)
    for i, operator in enumerate(operators):
        own = operator if not 0 < number <= len(operator.variants) else operator.variants[number - 1]
        parameters[i], activation[i] = own.parameters, own.activation
        for p, which in enumerate(PASS_ORDER):
            if which in own.times and (training or which is Pass.F):
                has_pass[i, p] = True
                cost = own.times[which]
                if id(cost) not in rows:
                    rows[id(cost)] = np.array([pass_seconds(cost, device) for device in devices])
                duration[i, p] = rows[id(cost)]
        held[i] = own.held_for_weight_grad if has_pass[i, 2] else 0.0
    return Version(has_pass, duration, parameters, activation, held, allowed & np.isfinite(duration).all(axis=1))


def taken(choices: Sequence[Version], name: str, versions: Sequence[int]) -> npt.NDArray[Any]:
    """One figure of all operators, each in the version of that number."""
    table = np.array(getattr(choices[0], name))
    which = np.asarray(versions)
    for number in range(1, len(choices)):
        rows = np.flatnonzero(which == number)
        table[rows] = getattr(choices[number], name)[rows]
    return table


def least_operator(
    operator: Operator, i: int, some: Sequence[Version], devices: Sequence[Device], training: bool
) -> Operator:
    """Operator i without alternatives, in no plan of which it takes longer or more memory than in any of ``some``.

    It takes the least of its versions, pass by pass and size by size. F and I take their least times. W fills what of
    every version's I that leaves free, or its W: in a schedule of any version it can run there, whole. The part held
    for W is the least that any version holds then.
    """
    runs = np.array([version.runs_on[i] for version in some])  # (versions, devices)
    seconds = np.array([np.where(version.has_pass[i][:, None], version.duration[i], 0.0) for version in some])
    seconds = np.where(runs[:, None, :], seconds, np.inf)  # (versions, passes, devices)
    first, back = seconds[:, 0].min(axis=0), seconds[:, 1].min(axis=0)
    with np.errstate(invalid="ignore"):
        weight = np.where(runs, np.maximum(seconds[:, 1] - back, seconds[:, 2]), np.inf).min(axis=0)
    may = np.flatnonzero(runs.any(axis=0)).tolist()

    def by_device(row: Floats) -> ByDevice:
        return ByDevice({devices[d].name: float(row[d]) for d in may})

    times: dict[Pass, ByDevice] = {Pass.F: by_device(first)}
    if training:
        times[Pass.I] = by_device(back)
        if (weight[may] > 0).any():
            times[Pass.W] = by_device(weight)
    activation = min(float(version.activation[i]) for version in some)
    held = min(float((version.held if version.has_pass[i, 2] else version.activation)[i]) for version in some)
    return replace(
        operator,
        times=times,
        parameters=min(float(version.parameters[i]) for version in some),
        activation=activation,
        held_for_weight_grad=min(held, activation),
        devices=tuple(devices[d].name for d in may),
        variants=(),
        origin=None,
    )
