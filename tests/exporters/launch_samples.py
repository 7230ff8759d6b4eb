"""Plans of chains of layers with what their graphs were made from, for the exports that write launch files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from export_samples import by_orders, named, pipeline

from planner.objectives.baseline import baseline_plan
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.problem.made_from import MadeFrom

RULES = "E=embed,t=layer.*,L=mtp*_head,m=mtp*,L=head"


def layers(count: int, *extra: str) -> tuple[str, ...]:
    """The names of an embedding, decoder layers, whatever else, and a head."""
    return ("embed", *(f"layer.{k}" for k in range(count)), *extra, "head")


def made(names: tuple[str, ...], devices: int, microbatches: int = 8, cap: float | None = None, **of: Any) -> Problem:
    """A chain of operators of 1 s a pass, 1 B of parameters and 1 B of activations, from a model with these figures."""
    problem = named(pipeline(len(names), devices, microbatches), *names)
    count = sum(name.startswith("layer.") for name in names)
    origin = MadeFrom(**{"model": "small", "rules": RULES, "layers": count, "sequence": 4096, "zero": 1, **of})
    return replace(problem, graph=replace(problem.graph, made_from=origin), memory_cap=cap)


def planned(problem: Problem, name: str = "1f1b") -> Plan:
    """The plan of a baseline."""
    return baseline_plan(name, problem)


def one_at_a_time(problem: Problem, device_of: list[int]) -> Plan:
    """A plan with this placement that runs a whole microbatch before the next: it holds one on every device."""
    count = problem.n_operators
    turns = ((0, range(count)), (1, range(count - 1, -1, -1)), (2, range(count)))
    orders = [
        [[(i, p, m) for m in range(problem.microbatches) for p, along in turns for i in along if device_of[i] == d], []]
        for d in range(problem.n_devices)
    ]
    return by_orders(problem, device_of, orders)
