"""The advice of explain, tried: what counts as reached, what is changed for it, and the page made of its JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from case_studies.advice import Case, advised, with_faster, with_memory, without_network
from explain_cases import CASES, DOCS, met, page, reached, said
from planner.explain.levers import kind_of
from planner.files import read_cluster, read_graph
from planner.problem import Problem

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def advice(predicted: float, makespan: float | None, **more: object) -> dict[str, Any]:
    found = {"error": "solve: no plan"} if makespan is None else {"makespan": makespan, "of_microbatches": 4}
    row: dict[str, Any] = {"key": "more_memory", "title": "4 GiB more", "how": "--memory-cap 8GiB", "at_least": False}
    return row | {"predicted": predicted, "microbatches": 4, "verified": True, "wall_seconds": 1.5} | found | more


ROW: dict[str, Any] = {"makespan": 10.0, "of_microbatches": 4, "lower_bound": 8.0, "wall_seconds": 2.0}
ROW |= {"config": "multimodal", "flags": [], "effort": 7, "commit": "abc", "date": "2026-11-29", "machine": "a machine"}


@pytest.mark.parametrize(
    ("one", "is_met"),
    [
        (advice(9.0, 9.0), True),
        (advice(9.0, 9.19), True),
        (advice(9.0, 9.21), False),
        (advice(9.0, 8.79), False),  # more than was said is not what was said
        (advice(9.0, 8.79, at_least=True), True),
        (advice(9.0, 9.21, at_least=True), False),
        (advice(9.0, 9.0, verified=False), False),
        (advice(9.0, None), False),
        (advice(18.0, 18.0, microbatches=8, of_microbatches=8), True),
    ],
)
def test_what_counts_as_reached(one: dict[str, Any], is_met: bool) -> None:
    assert met(ROW, one) is is_met
    assert said(ROW, one) == pytest.approx(0.1)


def test_the_page_shows_what_was_said_and_reached_and_what_was_not_run() -> None:
    some = [advice(9.0, 9.125), advice(9.75, None, key="transfers_free", title="layer.* faster"), advice(9.9, 10.05)]
    shown = page({"rows": {CASES[0].name: ROW | {"advice": some}, CASES[1].name: {**ROW, "advice": [], "error": "e"}}})
    line = "4 GiB more (`--memory-cap 8GiB`) | 10.00 % | 8.75 % | 1.25 % | yes |"
    assert f"| {CASES[0].name} | 10 s | 8 s | {line}" in shown
    assert "|  |  |  | layer.\\* faster (`--memory-cap 8GiB`) | 2.50 % | no plan | - | **no** |" in shown
    assert "2 of 3 pieces of advice hold; of those to add memory 2 of 2." in shown
    assert "are 2: 1 came to no plan, the others are off by 1.25 % at most." in " ".join(shown.split())
    assert "of which nothing was reached: 2." in shown and f"| {CASES[1].name} | e |" in shown
    assert f"Not run: {'; '.join(case.name for case in CASES[2:])}." in shown
    assert reached(ROW, some[1]) is None


def test_the_page_in_docs_is_made_of_its_rows() -> None:
    results = json.loads((DOCS / "explain-cases.json").read_text(encoding="utf-8"))
    assert page(results) == (DOCS / "explain-cases.md").read_text(encoding="utf-8")
    assert {case.name for case in CASES} == set(results["rows"]) and len(CASES) == 5
    for case in CASES:
        row = results["rows"][case.name]
        assert (row["config"], row["effort"], row["cut"]) == (case.config, case.effort, 0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.config)
def test_a_changed_file_is_the_config_with_that_change(case: Case, tmp_path: Path) -> None:
    folder = CONFIGS / case.config
    graph, cluster = read_graph(folder / "graph.yaml"), read_cluster(folder / "cluster.yaml")
    posed = Problem(graph, cluster, 1)

    def changed(text: str) -> Path:
        (tmp_path / "changed.yaml").write_text(text, encoding="utf-8")
        return tmp_path / "changed.yaml"

    def on(text: str) -> Problem:
        return replace(posed, cluster=read_cluster(changed(text)))

    own = folder / "cluster.yaml"
    assert on(with_memory(own, 1.25)).cap == pytest.approx(posed.cap * 1.25)
    assert on(with_memory(own, more=1024.0)).cap == pytest.approx(posed.cap + 1024.0)
    assert on(with_memory(own, float("inf"))).cap == pytest.approx(float("inf"))
    free = read_cluster(changed(without_network(own)))
    assert (free.within_node, free.between_nodes, free.links) == (None, None, ()) and cluster != free
    for kind in {kind_of(operator.name) for operator in graph.operators}:
        faster = Problem(read_graph(changed(with_faster(folder / "graph.yaml", kind))), cluster, 1)
        scale = np.array([0.9 if kind_of(operator.name) == kind else 1.0 for operator in graph.operators])
        np.testing.assert_allclose(faster.duration, posed.duration * scale[:, None, None], err_msg=kind)


def test_advice_is_what_a_user_can_do() -> None:
    """Flags where explain names them, a changed file where not; no row without a figure."""
    folder = CONFIGS / "mixed-cluster"
    row: dict[str, Any] = {"title": "t", "how": "search", "makespan": 3.0, "microbatches": 16, "flags": []}
    changes = [
        row | {"change": key} for key in ("more_memory", "cap_lifted", "transfers_free", "slowest_operator_split")
    ]
    changes += [
        row | {"change": "one_more_chunk", "makespan": None},
        row | {"change": "balance_perfect", "how": "replay"},
    ]
    changes += [row | {"change": "twice_the_microbatches", "microbatches": 32, "flags": ["--microbatches", "32"]}]
    least = {"factor": 1.5, "makespan": 2.0, "no_shorter_plan_with_factor": 1.25, "flags": []}
    document = {"microbatches": 16, "changes": changes, "planned_again": {"makespan": 4.0}, "least_memory": least}
    document["faster"] = [
        {"what": "device", "name": "a0"},
        {"what": "operators", "name": "layer.*.mlp", "makespan": 3.5},
    ]
    found = {one.key: one for one in advised(document, folder / "graph.yaml", folder / "cluster.yaml")}
    assert list(found) == [
        *("more_memory", "cap_lifted", "transfers_free", "twice_the_microbatches"),
        *("least_memory", "too_little", "faster"),
    ]
    assert found["twice_the_microbatches"].flags == ("--microbatches", "32") and not found["more_memory"].flags
    assert (found["least_memory"].predicted, found["too_little"].predicted) == (2.0, 4.0)
    kinds = yaml.safe_load(found["least_memory"].cluster or "")["device_types"]
    assert {name: kind["memory"] for name, kind in kinds.items()} == {"a100-40": 54 * 2**30, "h100": 114 * 2**30}
    assert found["faster"].at_least and found["faster"].graph
