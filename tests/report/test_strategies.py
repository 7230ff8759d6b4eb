"""Plans of one model and batch by different strategies: what is compared, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from samples import pipeline

from planner.plan.plan import Plan, Source, Throughput
from planner.problem.made_from import MadeFrom
from planner.report.compare import compare_document, compare_text, different_problems
from planner.report.html.page import Shown, report_html
from planner.report.strategies import different_steps
from planner.report.text import report_text


def strategy(gpus: int, each: float, mode: str = "training", **fields: Any) -> Plan:
    """24 sequences of 1000 tokens in 8 s, unless the fields say otherwise; ``each``: tokens/s/GPU."""
    origin = MadeFrom("llama", **{"sequence": 1000, "micro_batch": 2, "data": 4, **fields})
    graph = Source(f"g{gpus}", f"{gpus:064d}", mode, origin)
    figures = Throughput(gpus, origin.sequences(3), origin.tokens(3) or 0, each * gpus, each, gpus * 1e12, each / 1e4)
    return pipeline(graph=graph, throughput=figures)


HALF = strategy(16, 3000.0, tensor=2)
WHOLE = strategy(8, 4500.0, pipeline=8)


def rows_of(text: str) -> dict[str, list[str]]:
    return {line[:21].strip(): line[21:].split("  ") for line in text.splitlines() if line}


def test_one_model_and_batch_are_compared_by_tokens_a_second_and_gpu() -> None:
    """4500 / 3000 is 1.5; a graph that names no stages has as many as there are devices."""
    assert different_problems([HALF, WHOLE])
    assert different_steps([HALF, WHOLE]) == []
    text = compare_text([HALF, WHOLE], ["a.json", "b.json"], 100)
    rows = {name: [cell.strip() for cell in cells if cell.strip()] for name, cells in rows_of(text).items()}
    assert text.startswith("llama, training, 24 sequences of 1000 tokens a step\n")
    assert rows["strategy"] == ["tp2 cp1 ep1 dp4 pp2", "tp1 cp1 ep1 dp4 pp8"]
    assert rows["GPUs"] == ["16", "8"]
    assert rows["tokens/s"] == ["48,000", "36,000"]
    assert rows["tokens/s/GPU"] == ["3,000", "4,500"]
    assert rows["/ the first's"] == ["1.000", "1.500"]
    assert rows["MFU"] == ["30.00 %", "45.00 %"]
    assert rows["step time"] == ["8 s", "8 s"]
    assert "Different problems" not in text


def test_as_json() -> None:
    document = compare_document([HALF, WHOLE], ["a.json", "b.json"])
    assert (document["same_problem"], document["same_model_and_batch"]) == (False, True)
    first, second = document["plans"]
    assert (first["tp"], first["dp"], first["pp"], first["gpus"], first["tokens"]) == (2, 4, 2, 16, 24000)
    assert (second["tokens_per_second_per_gpu"], second["per_gpu_over_first"], second["mfu"]) == (4500.0, 1.5, 0.45)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (strategy(8, 1.0, sequence=2000), "sequence 1000 tokens against 2000 tokens"),
        (strategy(8, 1.0, micro_batch=1), "global batch 24 sequences against 12 sequences"),
        (strategy(8, 1.0, mode="inference"), "mode training against inference"),
        (
            replace(WHOLE, graph=replace(WHOLE.graph, origin=MadeFrom("gpt", sequence=1000))),
            "model 'llama' against 'gpt'",
        ),
        (pipeline(), "origin of graph 'tiny' does not say model and sequence"),
    ],
)
def test_what_differs_is_named(other: Plan, words: str) -> None:
    assert different_steps([HALF, other]) == [words]
    document = compare_document([HALF, other], ["a", "b"])
    assert document["same_model_and_batch"] is False
    assert "Different problems" in compare_text([HALF, other], ["a", "b"])  # with --force: the usual table


def test_plans_of_one_problem_have_the_usual_table_and_rows_for_tokens() -> None:
    text = compare_text([HALF, HALF], ["a", "b"])
    assert "placement bound" in text
    assert "tokens/s/GPU" in text
    assert "tokens/s" not in compare_text([pipeline()] * 2, ["a", "b"])
    assert "tokens" not in compare_document([pipeline()], ["a"])["plans"][0]


def test_reports_say_tokens_a_second() -> None:
    lines = report_text(WHOLE, 100).splitlines()
    assert "                 36,000 tokens/s, 4,500 on each of 8 GPUs; 24,000 tokens a step" in lines
    assert "MFU              45.00 % of the peak FLOP/s, recomputation not counted" in lines
    page = report_html(Shown(WHOLE, "this plan"))
    assert "<span>tokens/s/GPU</span><b>4,500</b><small>36,000 tokens/s on 8 GPUs</small>" in page
    assert "<span>MFU</span><b>45.00 %</b>" in page
    assert "tokens/s" not in report_text(pipeline(), 100) + report_html(Shown(pipeline(), "this plan"))
