"""Strategies for serving: figures by hand, memory, limits of latency, and the bound of the space."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import pytest
from strategy.questions import machines
from strategy.questions import serving as asked

from planner.files.cluster_text import cluster_yaml
from planner.files.graph_file import graph_of
from planner.files.yaml_source import source_of
from planner.problem import Graph, Pass
from planner.strategies.inference.cuts import Cuts
from planner.strategies.inference.evaluate import Looked, looked_at
from planner.strategies.inference.folder import plan_of, texts_of
from planner.strategies.inference.phases import Phases, strategy_of
from planner.strategies.inference.question import Question, question_of
from planner.strategies.inference.search import Found, best_inference

GIB = 2.0**30


def looked(question: Question, tp: int = 1, pp: int = 1, mbs: int = 8, ep: int = 1) -> tuple[Looked, Phases]:
    phases = Phases(question)
    return looked_at(strategy_of(question, tp, ep, pp, question.gpus // tp // pp, mbs), phases), phases


def layer_seconds(graph: Graph) -> list[float]:
    """Seconds of each layer of a graph that was written, in order; the embedding and the head are layers, too."""
    found: dict[str, float] = {}
    for operator in graph.operators:
        cost = operator.times[Pass.F]
        assert isinstance(cost, int | float)
        key = ".".join(operator.name.split(".")[:2])
        found[key] = found.get(key, 0.0) + float(cost)
    return list(found.values())


def read(text: str) -> Graph:
    return graph_of(source_of(text.encode(), Path("graph.yaml")))


def test_one_gpu_by_hand() -> None:
    """A prompt takes the sum of its layers, as does a token; a request the prompt and its share of 127 passes."""
    each, phases = looked(asked(1), mbs=16)
    figures = each.figures
    assert figures is not None
    texts = texts_of(phases, each.strategy)
    step = sum(layer_seconds(read(texts["graph.yaml"])))
    prompts = sum(layer_seconds(read(texts["prefill.yaml"])))
    assert figures.prompts == 8  # 8 x 1,024 tokens
    assert figures.token_latency == figures.pass_latency == pytest.approx(step)
    assert figures.prefill_period == pytest.approx(prompts / 8)
    assert figures.prefill_period < figures.prefill_latency < prompts
    request = prompts / 8 + 127 * step / 16
    assert figures.requests_per_second == pytest.approx(1 / request)
    assert figures.seconds == pytest.approx(request / 128)
    assert figures.decode_tokens_per_second == pytest.approx(16 / step)
    assert figures.prefill_tokens_per_second == pytest.approx(8 * 1024 / prompts)


def test_memory_by_hand() -> None:
    """Weights of four layers, embedding and head; keys and values of 16 whole requests."""
    each, _ = looked(asked(1), mbs=16)
    figures = each.figures
    assert figures is not None
    layer = 4096 * (4096 + 2048 + 4096 + 3 * 14336) + 2 * 4096
    assert figures.weights == 2 * (4 * layer + 2 * 128256 * 4096 + 4096)
    assert figures.caches == 16 * (1024 + 128) * 4 * 2 * 1024 * 2
    states = 2 * 8 * 1024 * 4096 * 2  # of a layer's two operators, of the prompts that are read together
    assert figures.stages.bytes == figures.weights + figures.caches + states


def test_a_pipeline_by_hand_against_every_cut() -> None:
    """Two stages of six layers: the cut of least seconds, the transfers of a state, and the token's way back."""
    question = asked(2, layers=6)
    each, phases = looked(question, pp=2, mbs=4)
    figures = each.figures
    assert figures is not None
    texts = texts_of(phases, each.strategy)
    step, prompts = layer_seconds(read(texts["graph.yaml"])), layer_seconds(read(texts["prefill.yaml"]))
    level = phases.stages(each.strategy).within_node
    assert level is not None
    there, back = level.seconds(4 * 4096 * 2), level.seconds(4 * 8)
    through = sum(step) + there + back
    channel = level.seconds(8 * 1024 * 4096 * 2)
    found = {}
    for end in range(1, len(step)):
        period = max(sum(step[:end]), sum(step[end:]), there)
        prefill = max(sum(prompts[:end]), sum(prompts[end:]), channel) / 8
        found[end] = (prefill + 127 * max(through, 2 * period) / 8) * 2 / 128
    assert figures.pass_latency == pytest.approx(through)
    assert figures.seconds == pytest.approx(min(found.values()))
    assert found[figures.stages.ends[0]] == pytest.approx(min(found.values()))
    assert each.lower_bound <= min(found.values()) * (1 + 1e-9)
    assert figures.token_latency == pytest.approx(max(through, 2 * figures.decode_period))


def test_the_bound_holds_for_every_cut_of_every_strategy() -> None:
    """Each strategy of four GPUs, each cut: none takes fewer GPU seconds than the bound of the space."""
    question = asked(4, layers=5, fixed={"mbs": (1, 8)})
    found = best_inference(question)
    assert found.gap is not None
    assert 0 <= found.gap < 0.01
    least = math.inf
    for each in found.looked:
        rows, s = found.phases.layers(each.strategy), each.strategy
        assert each.figures is not None
        through = each.figures.pass_latency
        for ends in combinations(range(1, 7), s.pp - 1):
            spans = list(zip((0, *ends), (*ends, 7), strict=True))
            period = max(sum(rows.decode[a:b]) for a, b in spans)
            prefill = max(sum(rows.prefill[a:b]) for a, b in spans) / rows.prompts
            request = prefill + 127 * max(through, s.pp * period) / (s.mbs * s.pp)
            least = min(least, request * s.tp * s.pp / 128)
    assert found.lower_bound <= least * (1 + 1e-9)
    assert found.best >= least * (1 - 1e-9)


def test_more_tensor_ranks_shorten_tokens_and_prompts() -> None:
    question = asked(8, layers=32)
    figures = [looked(question, tp=tp)[0].figures for tp in (1, 2, 4, 8)]
    assert all(figures)
    tokens = [each.token_latency for each in figures if each]
    prompts = [each.prefill_latency for each in figures if each]
    assert tokens == sorted(tokens, reverse=True)
    assert prompts == sorted(prompts, reverse=True)
    assert tokens[0] > 2 * tokens[3]


def test_replicas_multiply_throughput_and_not_latency() -> None:
    one, four = looked(asked(1))[0].figures, looked(asked(4))[0].figures
    assert one is not None
    assert four is not None
    assert four.requests_per_second == pytest.approx(4 * one.requests_per_second)
    assert four.token_latency == one.token_latency
    assert four.seconds == pytest.approx(one.seconds)


def test_a_cap_forces_smaller_batches() -> None:
    """Llama 3 8B on one GPU: 15 GiB of weights, and 1,152 x 128 KiB for each sequence."""
    mbs = {}
    for cap in (80, 40, 20):
        found = best_inference(asked(1, layers=None, memory=cap * GIB))
        best = found.ranked()[0]
        assert best.figures is not None
        assert best.figures.stages.bytes <= cap * GIB
        mbs[cap] = best.strategy.mbs
        assert all(each.figures is not None or each.strategy.mbs > best.strategy.mbs for each in found.looked)
        for each in found.looked:
            caches = each.strategy.mbs * 1152 * 131072
            assert (each.state == "out of memory") or caches + 14.9 * GIB < cap * GIB
    assert mbs[80] > mbs[40] > mbs[20]


def test_limits_of_latency_leave_out_what_is_slower() -> None:
    free = best_inference(asked(8, layers=32))
    winner = free.ranked()[0].figures
    assert winner is not None
    limit, first = winner.token_latency / 4, winner.prefill_latency / 2
    held = best_inference(asked(8, layers=32, max_token=limit, max_prefill=first))
    assert held.best > free.best
    assert held.lower_bound > free.lower_bound
    served = {each.strategy: each for each in held.looked}
    for each in free.looked:
        figures = each.figures
        keeps = figures is not None and figures.token_latency <= limit and figures.prefill_latency <= first
        if keeps:
            assert served[each.strategy].seconds == pytest.approx(each.seconds)
        for kept in (served[each.strategy].figures,):
            assert kept is None or (kept.token_latency <= limit * (1 + 1e-9) and kept.prefill_latency <= first)
    assert held.states["too slow"] > 0


def test_the_frontier_has_what_nothing_beats() -> None:
    found: Found = best_inference(asked(8, layers=8))
    frontier = [(each.figures.token_latency, each.seconds) for each in found.frontier() if each.figures]
    served = [(each.figures.token_latency, each.seconds) for each in found.looked if each.figures]
    assert frontier == sorted(frontier)
    for row in frontier:
        assert not any(other != row and other[0] <= row[0] and other[1] <= row[1] for other in served)
    for row in served:
        assert any(other[0] <= row[0] and other[1] <= row[1] for other in frontier)


def test_the_plan_has_the_period_and_the_memory() -> None:
    """The planner's own search for the least period, on the files that are written."""
    each, phases = looked(asked(4, layers=8), tp=2, pp=2, mbs=32)
    plan = plan_of(phases, each.strategy, 20.0)
    assert plan is not None
    assert each.figures is not None
    period = plan.figure("period")
    assert period is not None
    assert period.value is not None
    assert period.value <= each.figures.decode_period * (1 + 1e-6)
    best = Cuts(phases.layers(each.strategy), 2).best(lambda prefill, decode: decode, phases.cap, math.inf)
    assert best is not None
    assert best[0].decode == pytest.approx(period.value, rel=1e-6)
    peak = max(device.peak_memory for device in plan.devices)
    assert peak == pytest.approx(each.figures.stages.bytes, rel=0.2)


def test_replicas_that_straddle_nodes_send_between_them() -> None:
    """Three stages of two ranks on nodes of eight: the second replica reaches over two nodes."""
    question = asked(24, cluster="h100:3x8", layers=6)
    stages = Phases(question).stages(strategy_of(question, 2, 1, 3, 4, 1))
    assert len({device.node for device in stages.devices}) == 2
    inside = Phases(question).stages(strategy_of(question, 2, 1, 4, 3, 1))
    assert len({device.node for device in inside.devices}) == 1


def test_experts_spread_over_replicas() -> None:
    """Qwen3 30B A3B: with all experts on each rank the weights are held whole, and spread an eighth of most."""
    question = asked(8, layers=8, name="qwen3-30b-a3b")
    whole, spread = looked(question)[0].figures, looked(question, ep=8)[0].figures
    assert whole is not None
    assert spread is not None
    experts = 8 * 128 * 3 * 2048 * 768 * 2
    assert whole.weights - spread.weights == pytest.approx(experts * 7 / 8)
    assert {each.strategy.ep for each in best_inference(question).looked} == {1, 2, 4, 8}


def test_a_mixed_cluster_and_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(cluster_yaml(machines(h100=1, a100=1), "two types"), encoding="utf-8")
    with pytest.raises(ValueError, match="GPUs of one type"):
        question_of(Path("llama-3-8b"), path, prompt=8, output=8)
    with pytest.raises(ValueError, match="another tower"):
        question_of(Path("qwen2-vl-7b"), Path("h100:1x1"), prompt=8, output=8)
    with pytest.raises(ValueError, match="generates no tokens"):
        question_of(Path("bert-large"), Path("h100:1x1"), prompt=8, output=8)
    with pytest.raises(ValueError, match="exceed the model's 1,024 positions"):
        question_of(Path("gpt2-xl"), Path("h100:1x1"), prompt=1000, output=100)


def test_a_signal_or_the_end_of_time_leaves_what_is_known() -> None:
    """What has not been looked at may be as good as can be: the bound says so."""

    def interrupted(what: str) -> None:
        if not what.startswith("0 of"):
            raise KeyboardInterrupt

    found = best_inference(asked(8, layers=8), listener=interrupted)
    assert found.interrupted
    assert found.states["open"] > 0
    assert found.lower_bound == 0.0
    assert found.gap == 1.0
    assert math.isfinite(found.best)
    late = best_inference(asked(8, layers=8), time_limit=-1.0)
    assert math.isinf(late.best)
    assert late.gap is None
    assert not late.refused
