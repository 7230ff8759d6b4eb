"""``--recompute choose``: the operators and their variants are exactly what the uniform settings give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hf_models import NAMES, graph_of, named

from planner.importers.transformer.setting import Optimizer, Recompute, WeightGrad
from planner.problem import Graph, Operator, Pass

VARIANTS = [Recompute.SELECTIVE, Recompute.FULL]
SPREAD: dict[str, Any] = {"interconnect": 50e9, "tensor": 2}
SETTINGS: list[dict[str, Any]] = [
    {},
    {"weight_grad": WeightGrad.NEVER},
    {"weight_grad": WeightGrad.FITTING, **SPREAD, "context": 2},
    {"optimizer": Optimizer.NONE, "zero": 3, "data": 2, **SPREAD},
]


def fitted(name: str, setting: dict[str, Any]) -> dict[str, Any]:
    """The setting with a tensor degree that divides the model's heads: GPT-2 XL has 25."""
    return {**setting, "tensor": 5} if "tensor" in setting and name == "gpt2-xl" else setting


def all_in(graph: Graph, variant: str) -> list[Operator]:
    """The operators, each in that variant if it has it."""
    numbers = [o.versions.index(variant) if variant in o.versions else 0 for o in graph.operators]
    return [o.version(number) for o, number in zip(graph.operators, numbers, strict=True)]


def placeless(operators: list[Operator]) -> list[Operator]:
    """The operators without the lines at which files state them."""
    return [replace(operator, origin=None) for operator in operators]


@pytest.mark.parametrize("setting", SETTINGS, ids=["split", "joined", "fitting", "frozen"])
@pytest.mark.parametrize("name", NAMES)
def test_each_uniform_choice_is_the_uniform_setting(name: str, setting: dict[str, Any], tmp_path: Path) -> None:
    """Every operator at base is the graph of ``none``; all in one variant, that of the variant's name."""
    chosen = graph_of(name, tmp_path, recompute=Recompute.CHOOSE, **fitted(name, setting))
    for recompute, variant in [(Recompute.NONE, "base"), *((each, each.value) for each in VARIANTS)]:
        uniform = graph_of(name, tmp_path, recompute=recompute, **fitted(name, setting))
        assert placeless(all_in(chosen, variant)) == placeless(list(uniform.operators))


@pytest.mark.parametrize("name", NAMES)
def test_a_choice_that_changes_nothing_is_left_out(name: str, tmp_path: Path) -> None:
    """Nor are there variants of collectives, which hold nothing, or in inference, which keeps nothing for later."""
    graph = graph_of(name, tmp_path, recompute=Recompute.CHOOSE, **fitted(name, SPREAD))
    for operator in graph.operators:
        base = operator.version(0)
        assert base not in [operator.version(number) for number in range(1, len(operator.versions))]
        assert bool(operator.variants) is (operator.stream.value == "compute")
    inference = graph_of(name, tmp_path, recompute=Recompute.CHOOSE, training=False)
    assert all(not operator.variants for operator in inference.operators)


def test_what_recomputes_nothing_has_no_selective_variant(tmp_path: Path) -> None:
    """With one backward pass everywhere, attention behind gathered keys has nothing cheap to recompute."""
    graph = graph_of(
        "llama-3-8b", tmp_path, recompute=Recompute.CHOOSE, weight_grad=WeightGrad.NEVER, context=2, interconnect=50e9
    )
    assert named(graph, "layer.0.attn").versions == ("base", "full")
    assert named(graph, "layer.0.attn_qkv").versions == ("base", "selective", "full")
    assert all(Pass.W not in operator.times for operator in graph.operators)


def test_frozen_operators_have_no_choice(tmp_path: Path) -> None:
    """A frozen tower keeps nothing whatever is chosen."""
    graph = graph_of("llava-1.5-7b", tmp_path, recompute=Recompute.CHOOSE, freeze_vision=True)
    tower = [o for o in graph.operators if o.name.startswith(("patches", "vision."))]
    assert tower and all(o.versions == ("base",) for o in tower)
    assert named(graph, "projector").versions == ("base", "selective", "full")


@pytest.mark.parametrize("name", ["llama-3-8b", "deepseek-v3", "t5-base", "gpt2", "qwen2-vl-7b"])
def test_a_separate_weight_grad_costs_selective_no_memory(name: str, tmp_path: Path) -> None:
    """``fitting`` gives the same memory and work as ``stored``, in two passes for heads and attention behind gathered
    keys, which hold no more for W than forward keeps; elsewhere, and with full recomputation, in one."""
    fields = {"context": 2, "interconnect": 50e9, "recompute": Recompute.CHOOSE}
    stored = graph_of(name, tmp_path, **fields)
    fitting = graph_of(name, tmp_path, weight_grad=WeightGrad.FITTING, **fields)
    split = set()
    for joined, operator in zip(all_in(stored, "selective"), all_in(fitting, "selective"), strict=True):
        assert operator.activation == joined.activation
        if Pass.W in operator.times:
            split.add(operator.name.split(".")[-1])
            assert operator.held_for_weight_grad <= operator.activation
    assert "head" in split
    assert split <= {"head", "mtp_head", "attn", "cross", "mtp_attn"}
    assert all(Pass.W not in operator.times for operator in all_in(fitting, "full"))
