"""Kinds of units (what stays together): those that cost the same, with what the program of an order needs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from planner.placement.kinds import Versions
from planner.problem import Problem
from planner.runtimes.stage_costs import StageCosts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NO_TIME = 1e-8
"""Part of the time of all passes below which a unit takes none: what it holds may be held for no time, too."""


@dataclass(frozen=True, eq=False)
class Late:
    """What is certain about the reductions of units, by version, kind and device, where updates wait for all of them.

    ``some``: (kinds,), whether an operator of the unit reduces gradients, whose last backward pass is known to be in
    the last backward action of its stage. ``rest``: (versions, kinds, devices), seconds of the backward pass of all
    other operators of the unit: they may come after it.
    """

    some: Bools
    rest: Floats


@dataclass(frozen=True, eq=False)
class Kinds:
    """Units that cost the same, with their number: costs by version, kind (and pass, and device).

    ``seconds``: (versions, kinds, 3, devices), inf where it cannot run; ``parameters``, ``held``: (versions, kinds);
    ``activation``: (versions, kinds, devices); ``step``: (kinds, 3, devices). ``first``, ``last``: the kinds of the
    first and the last unit. ``whole``: for backward passes in one; ``split``: where weight gradients may come later.
    """

    count: Floats
    seconds: Floats
    parameters: Floats
    activation: Floats
    held: Floats
    step: Floats
    gathered: Floats  # (kinds, devices): seconds of what is gathered after an update
    comm: Floats  # (kinds, devices): seconds of the comm stream in all passes of a microbatch, at least
    layer: Bools  # whether it is a layer, of those that a runtime counts
    whole: Late
    split: Late
    first: int
    last: int

    @staticmethod
    def of(
        problem: Problem,
        costs: StageCosts,
        choices: Sequence[Versions],
        layer: Sequence[bool],
        times: Ints | None = None,
    ) -> Kinds:
        """The kinds of the units of a problem; ``choices``: the versions that they may be in.

        ``times``: how many units each stands for; one where it is None.
        """
        tables = [costs.of(versions) for versions in choices]
        seconds, parameters, activation, held = (np.array([table[k] for table in tables]) for k in range(4))
        units = parameters.shape[1]
        ends = np.zeros((units, 2))
        ends[0, 0] = ends[-1, 1] = 1
        least = np.where(np.isfinite(seconds), seconds, 0.0)
        # an activation is held from the start of F to the end of I: without them, for no time, however long W takes
        active = least[:, :, :2].sum(axis=2) > NO_TIME * float(least.max(axis=(0, 3), initial=0.0).sum())
        held_long = activation[:, :, None] * active
        gathered = costs.by_unit(np.where(problem.has_step[:, 1, None], problem.step_duration[:, 2], 0.0))
        reduces = problem.has_step[:, 0]
        has_w = np.all([own.has_pass[:, 2] for own in map(costs.problem_of, choices)], axis=0)
        late = [_late(costs, choices, certain) for certain in (reduces, reduces & has_w)]
        every = (seconds, parameters, held_long, held, late[0].rest, late[1].rest)
        flat = [np.moveaxis(table, 1, 0).reshape(units, -1) for table in every]
        more = [np.array([layer], dtype=float).T, *(each.some[:, None].astype(float) for each in late)]
        rows = np.concatenate([*flat, costs.step.reshape(units, -1), gathered, costs.comm, ends, *more], axis=1)
        _, at, kind_of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        kind_of = kind_of.ravel()
        whole, split = (Late(each.some[at], each.rest[:, at]) for each in late)
        return Kinds(
            np.bincount(kind_of, weights=times).astype(float),
            seconds[:, at],
            parameters[:, at],
            held_long[:, at],
            held[:, at],
            costs.step[at],
            gathered[at],
            costs.comm[at],
            np.array(layer, dtype=bool)[at],
            whole,
            split,
            int(kind_of[0]),
            int(kind_of[-1]),
        )


def _late(costs: StageCosts, choices: Sequence[Versions], certain: Bools) -> Late:
    """By unit; ``certain``: the operators whose reduction is known to come late."""
    rest = []
    for versions in choices:
        own = costs.problem_of(versions)
        backward = np.where(costs.counted[:, None], own.duration[:, 1:].sum(axis=1), 0.0)
        backward = np.where(own.runs_on & ~certain[:, None], backward, 0.0)
        rest.append(costs.by_unit(backward))
    return Late(costs.by_unit(certain.astype(float)) > 0, np.array(rest))


def whole_layers(names: Mapping[int, str | None], units: Sequence[Sequence[int]]) -> list[bool] | None:
    """Whether each unit is a layer; None where a unit has several layers or a layer is in several units.

    ``names``: the layer of each operator, None for what is none.
    """
    of = [{names[i] for i in unit} - {None} for unit in units]
    every = [name for some in of for name in some]
    if any(len(some) > 1 for some in of) or len(set(every)) < len(every):
        return None
    return [bool(some) for some in of]
