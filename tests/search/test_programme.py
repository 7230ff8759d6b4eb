"""The order of the steps, read from the programme, and the rules by which it is run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import pytest
from solver_problems import chain, config, posed, state_of

from planner.common.budget import Control
from planner.objectives.options import SolveOptions
from planner.objectives.registry import solve
from planner.plan.plan import Plan
from planner.problem import Placement, Problem
from planner.search import SearchParams, SearchState
from planner.search.adaptive import Adaptive
from planner.search.programme import BRIEF, LARGE, ON_PLACEMENT_LARGE, ON_PLACEMENT_SMALL, OPENING, SMALL, programme
from planner.search.searching import run_steps
from planner.search.step import Step
from planner.search.steps.exact import decides


def names(steps: tuple[Step, ...]) -> list[str]:
    return [step.name for step in steps]


IN_TURNS = (
    "in turns: change placement, re-optimise from prefixes, move operators and tune, restart, beam search, "
    "LNS windows, anneal placements and tune"
)


def test_the_opening() -> None:
    """After the baselines: bounds, then a first plan whatever the problem."""
    assert names(OPENING) == [
        "cheap bounds",
        "bound of the only placement",
        "modulo schedules",
        "steady-state patterns, early",
        "family placements",
        "plans to begin with",
        "any placement that fits",
    ]


def test_many_tasks() -> None:
    """Rules shape the schedule, annealing intensifies; the adaptive phase comes before the exact models."""
    problem = config("deepseek-v3-units", copies=2)
    assert programme(state_of(problem)) is LARGE
    assert names(LARGE) == [
        "dear bounds",
        "uniform choices",
        "mixed choices",
        "propose placements",
        "move operators",
        "vary rules",
        "anneal orders, best",
        "steady-state patterns",
        IN_TURNS,
        "counting",
    ]


def test_few_tasks() -> None:
    """Annealing shapes the schedule; exact models come before the adaptive phase."""
    problem = config("dualpipe-4x8")
    assert programme(state_of(problem)) is SMALL
    assert names(SMALL) == [
        "exact decomposition, first",
        "dear bounds",
        "anneal orders, first",
        "uniform choices",
        "mixed choices",
        "exact decomposition, more",
        "counting, small models",
        "propose placements",
        "move operators",
        "anneal orders, some",
        "vary rules",
        "anneal orders, best",
        "exact decomposition, more",
        "counting",
        IN_TURNS,
        "exact decomposition, all",
    ]
    assert programme(state_of(problem), brief=True) is BRIEF
    assert names(BRIEF) == ["anneal orders, brief"]


def test_one_placement() -> None:
    """The same steps, what shapes first; a beam search only with many tasks."""
    assert names(ON_PLACEMENT_LARGE) == ["vary rules", "beam search", "anneal orders, best"]
    assert names(ON_PLACEMENT_SMALL) == ["anneal orders, best", "vary rules"]


def flat(params: Any, prefix: str = "") -> dict[str, Any]:
    """Every number by its dotted name."""
    found: dict[str, Any] = {}
    for each in fields(params):
        value = getattr(params, each.name)
        name = f"{prefix}{each.name}"
        found |= flat(value, f"{name}.") if is_dataclass(value) else {name: value}
    return found


def test_the_tested_search_is_the_shipped_one() -> None:
    """For tests, only these amounts of effort differ: no number that decides which steps run, or how they decide."""
    shipped, tested = (flat(params) for params in (SearchParams(), SearchParams.for_tests()))
    assert {name for name in shipped if shipped[name] != tested[name]} == {
        "schedule.anneal.iterations_at_most",
        "vary.evaluations",
        "move.moves",
        "move.annealed_moves",
        "change.changes",
        "lns.session",
        "prefix.evaluations",
        "counting.nodes",
        "exact.more",
        "period.moves",
    }


@dataclass
class Recorded:
    """A step that notes when it runs."""

    name: str
    log: list[str]
    supported: bool = True
    gain: float = 0.0
    ends: bool = False
    left: int = field(default=1_000)

    def __hash__(self) -> int:
        return id(self)

    def supports(self, state: SearchState) -> bool:
        return self.supported

    def run(self, state: SearchState) -> None:
        self.log.append(self.name)
        best = state.incumbent.best
        assert best is not None
        if self.gain and self.left:
            self.left -= 1
            state.incumbent.best = type(best)(best.timetable, best.makespan * (1 - self.gain), self.name)
        if self.ends:
            state.incumbent.control.stop_requested.set()


@pytest.fixture
def begun() -> SearchState:
    """A state with a schedule far from its bound."""
    problem: Problem = posed(*chain(4), devices=2, microbatches=4)
    state = state_of(problem)
    state.try_placement(Placement(((0, 0, 0, 0),)))
    assert state.incumbent.best is not None
    return state


def test_steps_that_do_not_apply_are_passed_over(begun: SearchState) -> None:
    """The others run in their order; after one that meets the bound or the deadline none does."""
    log: list[str] = []
    steps = (
        Recorded("a", log),
        Recorded("b", log, supported=False),
        Recorded("c", log, ends=True),
        Recorded("d", log),
    )
    run_steps(begun, steps)
    assert log == ["a", "c"]


def test_the_step_that_gains_most_is_next(begun: SearchState) -> None:
    """Turns by expected gain: the step that gains goes on until it does not; steps without gain are given up."""
    log: list[str] = []
    good, poor = Recorded("good", log, gain=0.01, left=5), Recorded("poor", log)
    begun.incumbent.control = Control()
    Adaptive(((poor, lambda state: 5e-4, 1.0), (good, lambda state: 5e-4, 1.0))).run(begun)
    assert log[:2] == ["poor", "good"]  # of equals the first
    assert log.count("good") >= 6
    assert log.count("poor") == 3  # 5e-4, 2.5e-4, 1.25e-4, then below the least
    assert log[2:6] == ["good"] * 4


def test_gains_count_for_their_cost(begun: SearchState) -> None:
    """Of two steps that gain the same, the cheaper one goes on."""
    log: list[str] = []
    dear, cheap = Recorded("dear", log, gain=0.01, left=5), Recorded("cheap", log, gain=0.01, left=5)
    begun.incumbent.control = Control()
    Adaptive(((dear, lambda state: 4e-3, 5.0), (cheap, lambda state: 4e-3, 1.0))).run(begun)
    assert log[:7] == ["dear", *["cheap"] * 5, "cheap"]  # 4e-3, then 3e-3 against 7e-3 and more


def test_effort_ends_a_search_at_the_same_place() -> None:
    """With a limit of effort, one thread or two: the same tasks; with more effort no longer plan."""
    problem = config("deepseek-v3-units", microbatches=2)

    def plan(effort: float, threads: int) -> Plan:
        options = SolveOptions({}, threads=threads, params=SearchParams.for_tests())
        return solve(problem, Control(float("inf"), effort=effort), options)

    alone, together, longer = plan(60, 1), plan(60, 2), plan(200, 2)
    assert (alone.tasks, alone.transfers) == (together.tasks, together.transfers)
    assert longer.makespan <= together.makespan


def test_what_the_exact_decomposition_decides() -> None:
    """Problems of up to 500 tasks, whose placements are known, with few ways to share the microbatches."""
    assert decides(state_of(posed(*chain(4), devices=2, microbatches=40)))
    assert not decides(state_of(posed(*chain(4), devices=2, microbatches=42)))
    assert decides(state_of(posed(*chain(4), devices=4, microbatches=8, copies=2, layout="bidirectional")))
    assert not decides(state_of(posed(*chain(4), devices=4, microbatches=8, copies=2, layout="linear")))
    assert not decides(state_of(posed(*chain(2), devices=2, microbatches=50, copies=8)))
