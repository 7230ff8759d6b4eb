"""CP-SAT in the bench of cases, against every order of tiny problems. Needs OR-Tools: `.ci/run` calls it by name."""

from __future__ import annotations

import pytest
from exhaustive import Search, tasks_of

from case_studies.cpsat import cpsat
from planner.problem import Cluster, Device, DeviceType, Graph, Mode, NetworkLevel, Operator, Pass, Placement, Problem
from racing.shop import copies_of


def forked(microbatches: int, memory: float | None, latency: float) -> Problem:
    """One operator whose output is read on two other devices, so that two gradients come back."""
    kind = DeviceType("x", memory=memory)
    devices = tuple(Device(f"d{k}", "d", kind, memory=memory) for k in range(3))
    operators = (
        Operator("a", {Pass.F: 1.0, Pass.I: 0.7, Pass.W: 0.5}, activation=1.0, held_for_weight_grad=1.0),
        Operator("b", {Pass.F: 0.3, Pass.I: 0.4}, ("a",), activation=1.0),
        Operator("c", {Pass.F: 0.6, Pass.I: 0.9}, ("a",), activation=1.0),
    )
    cluster = Cluster("three", devices, {"x": kind}, within_node=NetworkLevel(latency=latency))
    return Problem(Graph("forked", Mode.TRAINING, microbatches, operators), cluster, microbatches)


@pytest.mark.parametrize(
    ("microbatches", "memory", "latency"), [(2, None, 0.0), (2, None, 0.25), (3, 1.0, 0.25), (2, 1.0, 0.0)]
)
def test_cpsat_finds_the_best_order(microbatches: int, memory: float | None, latency: float) -> None:
    problem = forked(microbatches, memory, latency)
    placement = Placement(((0, 1, 2),))
    tasks = tasks_of(problem, placement.device_of, copies_of(problem, placement))
    best = Search(problem, placement.device_of, tasks, float("inf")).run()
    found = cpsat(problem, placement, 20.0)
    assert found["status"] == "optimal"
    assert found["makespan"] == pytest.approx(best, abs=1e-4)
