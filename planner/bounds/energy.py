"""A bound over all placements of operators with alternatives: time against bytes, decided fractionally.

A microbatch holds an operator's activation at least from the start of F through the rest of the network and back to
the end of I, then what W needs to the end of W: so many bytes x seconds (Little's law, counted from below). All devices
together offer no more than their memory, less one copy of all parameters, x the makespan. And their compute streams
work no longer than the makespan, less what passes before the first and after the last task on each.

An alternative takes more seconds of work and fewer bytes x seconds. For any weights of the two inequalities the
cheapest version of each operator under these weights gives a bound (Lagrangian relaxation); the best weights give what
a fractional knapsack over all versions leaves.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from planner.bounds.waits import Waits, fastest_steps
from planner.placement.versions import Energy
from planner.problem import Problem

Floats = npt.NDArray[np.float64]

WEIGHTS = np.linspace(0.0, 1.0, 65)
"""Weights of work against memory that are tried; then as many between the neighbours of the best."""


def energy_bound(problem: Problem) -> float:
    """Seconds that no plan beats, whatever versions it picks; 0 without alternatives, in inference or without caps."""
    if not problem.free or not problem.training or not np.isfinite(problem.cap).all():
        return 0.0
    work, held = _of_versions(problem)
    relaxed = problem.relaxed
    waits = Waits.of_any(problem)
    compute = np.flatnonzero(~problem.on_comm & (work.min(axis=1) > 0))
    hosts = problem.n_devices
    first, last = (_soonest(wait[compute], problem.copies, hosts) for wait in (waits.head, waits.tail))
    holding = np.max([version.activation for version in problem.choices], axis=0) > 0
    before = _soonest(waits.head[holding], problem.copies, hosts)
    taking = holding | (np.max([version.parameters for version in problem.choices], axis=0) > 0)
    elsewhere = bool((taking & problem.on_comm).any())  # whether devices that do not compute may hold something
    caps = np.sort(problem.cap_with_slack)[::-1]
    parameters = math.fsum(relaxed.parameters)
    updates = float(fastest_steps(relaxed)[compute, 1].sum())  # those of others may run on further devices
    best = math.inf
    for devices in range(1, hosts + 1):
        room = math.fsum(caps if elsewhere else caps[:devices]) - parameters
        if room <= 0 or len(first) < devices:
            continue  # so few devices hold not even the parameters, or so many have nothing to do
        idle = float(first[:devices].sum() + last[:devices].sum())
        # what a device offers before its first forward is lost; least where the fullest rooms wait least
        offered = np.clip(room - np.append(0.0, np.cumsum(caps[: devices - 1])), 0.0, caps[:devices])
        lost = 0.0 if elsewhere or len(before) < devices else float(offered @ before[:devices])
        busy = problem.microbatches * work / devices
        bytes_ = problem.microbatches * held / room
        found = _weighed(busy, bytes_, idle / devices, lost / room)
        # without waits, but with the updates, which run between or after them
        found = max(found, _weighed(busy, bytes_, updates / devices, lost / room))
        best = min(best, found)
    return 0.0 if math.isinf(best) else best


def _of_versions(problem: Problem) -> tuple[Floats, Floats]:
    """``[i, v]``: seconds of compute and bytes x seconds of a microbatch in each version; inf where not allowed."""
    energy = Energy(problem)
    work = np.full((problem.n_operators, len(problem.choices)), np.inf)
    held = work.copy()
    for v, version in enumerate(problem.choices):
        seconds = np.where(version.has_pass[:, :, None], version.duration, 0.0)
        runs = version.runs_on[:, None, :]
        own = np.where(runs, seconds, np.inf).min(axis=2)  # (operators, passes)
        some = [i for i, allowed in enumerate(problem.versions) if v in allowed and np.isfinite(own[i]).all()]
        work[some, v] = np.where(problem.on_comm[some], 0.0, own[some].sum(axis=1))
        held[some, v] = energy.of_version(v, own)[some]
    return work, held


def _soonest(waits: Floats, copies: int, devices: int) -> Floats:
    """The least waits of so many devices: each in use hosts a copy of an operator of its own."""
    return np.sort(np.repeat(waits, copies))[:devices]


def _weighed(busy: Floats, bytes_: Floats, idle: float, lost: float) -> float:
    """The best of ``weight x (busy + idle) + (1 - weight) x (bytes + lost)``, operators in their cheapest versions."""

    def at(weight: float) -> float:
        with np.errstate(invalid="ignore"):
            cost = weight * busy + (1.0 - weight) * bytes_
        cost = np.where(np.isfinite(busy), cost, np.inf)
        return weight * idle + (1.0 - weight) * lost + math.fsum(cost.min(axis=1))

    weights = WEIGHTS
    for _ in range(2):
        values = [at(float(weight)) for weight in weights]
        k = int(np.argmax(values))
        best = values[k]
        weights = np.linspace(weights[max(0, k - 1)], weights[min(len(weights) - 1, k + 1)], len(WEIGHTS))
    return max(best, *(at(float(weight)) for weight in weights)) * (1.0 - 1e-12)
