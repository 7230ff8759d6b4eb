"""The search against looking at every strategy to the end, and bounds against plans."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
from strategy.questions import engine, machines, model, question

from planner.baselines import SCHEDULES
from planner.common.budget import Control
from planner.engine import Limits, Outcome
from planner.engine.work import Work
from planner.importers.transformer.model import Moe
from planner.problem import ProblemError
from planner.runtimes.order_graph import order_graph
from planner.runtimes.rank_bound import held_by_all
from planner.strategies.answer import document_of
from planner.strategies.best import best_strategies
from planner.strategies.evaluate import (
    BOUNDED,
    OUT_OF_MEMORY,
    SOLVED,
    BoundWork,
    Look,
    QuickWork,
    SolveWork,
    _of_any_order,
    _of_few_layers,
    searched,
)
from planner.strategies.made import cap_of, graphs_of, problem_of, short_problem_of
from planner.strategies.quick import quick
from planner.strategies.request import Request
from planner.strategies.search import Search
from planner.strategies.space import Candidate, space_of

GIB = 2.0**30
LIMITS = Limits(1)


QUESTIONS = [
    question(),
    question(memory=14 * GIB),
    question(memory=8 * GIB, global_batch=16),
    question(runtime="torchtitan", fixed={"mbs": (2,), "cp": (1,)}),
    question(model=model("mixtral-8x7b", layers=2), memory=40 * GIB, global_batch=8, fixed={"mbs": (1,)}),
    question(model=model(layers=3), cluster="a100", fixed={"cp": (1,)}, global_batch=12),
]


@dataclass(frozen=True)
class Solved:
    """A question, and every strategy of it looked at to the end: it takes seconds, and two tests want it."""

    question: Request
    results: dict[Candidate, dict[str, Any]]


@pytest.fixture(scope="module", params=QUESTIONS, ids=range(len(QUESTIONS)))
def solved(request: pytest.FixtureRequest) -> Solved:
    asked = request.param
    candidates = space_of(asked, graphs_of(asked)).candidates
    return Solved(asked, {each: SolveWork(asked, each, math.inf, 60.0, Look.LONG).run(LIMITS) for each in candidates})


def test_the_winner_is_that_of_solving_every_strategy(solved: Solved) -> None:
    plans = {}
    for candidate, result in solved.results.items():
        if result["state"] == SOLVED:
            plans[candidate.name] = result["seconds"]
            assert result["lower_bound"] <= result["seconds"] * (1 + 1e-9)
    with engine() as running:
        found = Search(solved.question, running, 120.0).run()
    assert plans
    assert found.best == pytest.approx(min(plans.values()), rel=1e-9)
    assert found.lower_bound <= found.best
    for looked in found.looked:
        if looked.candidate.name in plans:
            assert not looked.out_of_memory
            assert looked.lower_bound <= plans[looked.candidate.name] * (1 + 1e-9)
    assert found.gap is not None
    assert found.gap < 0.2


def test_bounds_become_closer_and_never_exceed_a_plan(solved: Solved) -> None:
    asked = solved.question
    graphs = graphs_of(asked)
    for candidate, last in list(solved.results.items())[::3]:
        first = quick(candidate, graphs, asked.runs, cap_of(asked))
        soon = SolveWork(asked, candidate, math.inf, 60.0, Look.SOON).run(LIMITS)
        closer = SolveWork(asked, candidate, math.inf, 60.0, Look.ORDERS).run(LIMITS)
        bound = BoundWork(asked, (candidate,), math.inf, 60.0).run(LIMITS)["found"][0]
        if bound["state"] == OUT_OF_MEMORY:
            assert closer["state"] == OUT_OF_MEMORY
            assert last["state"] != SOLVED
            assert soon["state"] != SOLVED
            continue
        for plan in (last, soon):
            if plan["state"] == SOLVED:
                assert first.seconds <= plan["seconds"] * (1 + 1e-9)
                assert first.bytes <= plan["peak_bytes"] * (1 + 1e-9)
                assert bound["lower_bound"] <= plan["seconds"] * (1 + 1e-9)
                assert closer["lower_bound"] <= plan["seconds"] * (1 + 1e-9)


def test_no_strategy_is_looked_at_twice_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor after it is done with: what is searched early still gets a bound, and what is left at last is pruned."""
    under_way: set[Candidate] = set()
    looks: Counter[tuple[Candidate, Look]] = Counter()

    def of(work: Work) -> set[Candidate]:
        return {work.candidate} if isinstance(work, SolveWork) else set(getattr(work, "candidates", ()))

    with engine() as running:
        submit, note = running.submit, Search.note

        def submitted(work: Work, keep: bool = True) -> None:
            if not isinstance(work, QuickWork):
                assert not under_way & of(work)
                under_way.update(of(work))
            if isinstance(work, SolveWork):
                looks[work.candidate, work.look] += 1
            submit(work, keep)

        def noted(self: Search, outcome: Outcome) -> None:
            under_way.difference_update(of(outcome.work))
            note(self, outcome)

        monkeypatch.setattr(running, "submit", submitted)
        monkeypatch.setattr(Search, "note", noted)
        found = Search(QUESTIONS[1], running, 120.0).run()
    assert {look for _, look in looks} == {Look.SOON, Look.ORDERS, Look.LONG}
    assert all(count == 1 for (_, look), count in looks.items() if look is not Look.ORDERS)
    assert sum(looked.searched for looked in found.looked) >= 2
    best = found.ranked()[0]
    assert best.searched
    assert (best.candidate, Look.ORDERS) in looks or best.lower_bound == best.seconds
    assert {looked.state(found.best) for looked in found.looked} <= {"pruned", SOLVED, OUT_OF_MEMORY}


def test_a_problem_of_few_layers_has_the_bound_of_the_whole_one() -> None:
    rng = random.Random(3)
    questions = [
        question(model=model(name, layers=9), runtime=runtime, gpus=32, memory=20 * GIB)
        for name in ("llama-3-8b", "mixtral-8x7b", "deepseek-v3", "gpt2-xl")
        for runtime in ("megatron", "torchtitan", "nanotron")
    ]
    compared = 0
    for request in questions:
        some = space_of(request, graphs_of(request)).candidates
        for candidate in rng.sample(some, min(2, len(some))):
            problem = problem_of(request, candidate)
            small, times = short_problem_of(request, candidate)
            assert small.n_operators <= problem.n_operators == sum(times)
            compared += small.n_operators < problem.n_operators
            for enough in (0.0, math.inf):
                few = _of_few_layers(request, candidate, Control(60), enough)
                whole = _of_any_order(searched(problem, request.runs, Control(60)), problem, Control(60), enough)
                assert few == pytest.approx(whole, rel=1e-9)
    assert compared > 15


@pytest.mark.parametrize("schedule", ["1f1b", "interleaved-1f1b", "gpipe", "zb1p", "zbv"])
def test_what_every_order_of_a_schedule_holds(schedule: str) -> None:
    """There is a moment at which a device holds so many microbatches of each of its stages."""
    for ranks in (1, 2, 3, 4):
        for microbatches in (1, 2, 4, 8, 12):
            for chunks in (1, 2, 3) if schedule == "interleaved-1f1b" else (SCHEDULES[schedule].chunks,):
                try:
                    rows = SCHEDULES[schedule].rows(ranks, microbatches, chunks)
                except Exception:  # an order that these numbers do not have
                    continue
                layout = list(SCHEDULES[schedule].layout(ranks, chunks)[0])
                graph = order_graph(rows, ranks * chunks, layout, microbatches)
                assert graph is not None
                for rank in range(ranks):
                    own = [s for s in range(len(layout)) if layout[s] == rank]
                    most = max(min(int(vector[s][0]) for s in own) for vector in graph.held[rank])
                    assert most >= held_by_all(schedule, rank, ranks, microbatches)


def test_plans_of_models_with_further_heads() -> None:
    """Modules of multi-token prediction are layers by what the graph was made from: search and plan cut alike."""
    whole = model("deepseek-v3", layers=5)
    layers = tuple(
        replace(layer, feed_forward=replace(layer.feed_forward, experts=8))
        if isinstance(layer.feed_forward, Moe)
        else layer
        for layer in whole.decoder.layers
    )
    small = replace(whole, decoder=replace(whole.decoder, layers=layers))
    with engine() as running:
        request = question(model=small, fixed={"pp": (2,), "mbs": (1,)}, cluster="h200")
        answer = best_strategies(request, running, 12.0, 0.05, 2, 2)
    assert answer.chosen
    assert not answer.found.notes
    assert answer.plans[0].plan.makespan == pytest.approx(answer.chosen[0].seconds)


def test_nothing_fits_is_proven() -> None:
    with engine() as running:
        found = Search(question(memory=1 * GIB), running, 30.0).run()
    assert all(looked.out_of_memory for looked in found.looked)
    assert found.best == found.lower_bound == math.inf
    assert found.gap is None


def test_what_is_no_proof_of_memory_is_not_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime without a schedule for so many stages, and a step with too many tasks, which proves nothing."""
    one_stage = question(runtime="dualpipe", fixed={"pp": (1,), "mbs": (1,)})
    with engine() as running:
        found = Search(one_stage, running, 20.0).run()
    assert {looked.state(found.best) for looked in found.looked} == {"invalid"}
    candidate = space_of(question(), graphs_of(question())).candidates[0]

    def refuse(*_: object) -> object:
        raise ProblemError("the step has too many tasks")

    monkeypatch.setattr("planner.strategies.evaluate.problem_of", refuse)
    assert BoundWork(question(), (candidate,), math.inf, 5.0).run(LIMITS)["found"][0]["state"] == BOUNDED
    solved = SolveWork(question(), candidate, math.inf, 5.0, Look.SOON).run(LIMITS)
    assert (solved["state"], solved["lower_bound"]) == (BOUNDED, 0.0)


def test_two_types_of_gpus_beat_each_alone() -> None:
    """Llama 3 8B, 4 layers, on 4 H100 and 4 A100."""
    steps = {}
    for name, cluster in {
        "both": machines(h100=4, a100=4), "h100": machines(h100=4), "a100": machines(a100=4)
    }.items():  # fmt: skip
        request = question(
            gpus=len(cluster.devices), cluster_of=cluster, model=model(layers=4), global_batch=16, fixed={"mbs": (1,)}
        )
        with engine() as running:
            steps[name] = Search(request, running, 15.0, gap=0.1).run().best
    assert steps["both"] < min(steps["h100"], steps["a100"])


def test_the_answer_has_plans_that_are_valid_and_neighbours() -> None:
    request = question(global_batch=16)
    with engine() as running:
        answer = best_strategies(request, running, 20.0, 0.0, 3, 2)
    assert len(answer.chosen) == 3
    assert sorted(answer.plans) == [0, 1]
    assert answer.plans[0].plan.makespan == pytest.approx(answer.chosen[0].seconds)
    document = document_of(answer)
    assert [row["seconds"] for row in document["strategies"]] == sorted(
        row["seconds"] for row in document["strategies"]
    )
    assert document["best_seconds"] == document["strategies"][0]["seconds"]
    assert document["lower_bound"] <= document["best_seconds"]
    space = document["space"]
    parts = ("invalid", "out_of_memory", "pruned_by_bound", "solved", "open")
    assert space["strategies"] == sum(space[part] for part in parts)
    assert document["neighbours"]
    assert {each["change"].split()[0] for each in document["neighbours"]} <= {"tp", "cp", "pp", "mbs", "zero"}
    row = document["strategies"][0]
    tokens = 16 * 2048 / row["seconds"] / 4
    assert row["tokens_per_second_per_gpu"] == pytest.approx(tokens)


def test_the_same_question_again_is_read_from_the_store(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from concurrent.futures import ThreadPoolExecutor

    from planner.engine import Engine, Store, handed

    request = question()
    results = []
    for _ in range(2):
        with ThreadPoolExecutor(1) as pool, Engine(handed(pool, 1), Store(tmp_path / "results")) as running:
            results.append(Search(request, running, 60.0).run())
    assert results[0].best == results[1].best
    assert list((tmp_path / "results").glob("*.json"))
    other = replace(request, global_batch=4)
    assert other.key != request.key
