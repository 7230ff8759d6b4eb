"""Overrides of Megatron-Bridge: the values by hand, names and types against its configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from launch_samples import layers, made, one_at_a_time, planned

from planner.exporters import CannotExport
from planner.exporters.megatron import MegatronOptions
from planner.exporters.megatron_bridge import MegatronBridge
from planner.problem import Problem

KNOWN: dict[str, Any] = {
    "model": {
        "tensor_model_parallel_size": int,
        "sequence_parallel": bool,
        "context_parallel_size": int,
        "expert_model_parallel_size": int,
        "expert_tensor_parallel_size": int,
        "pipeline_model_parallel_size": int,
        "virtual_pipeline_model_parallel_size": (int, type(None)),
        "pipeline_model_parallel_layout": str,
        "num_layers": int,
        "mtp_num_layers": int,
        "num_moe_experts": int,
        "moe_token_dispatcher_type": str,
        "seq_length": int,
        "share_embeddings_and_output_weights": bool,
        "num_layers_in_first_pipeline_stage": type(None),
        "num_layers_in_last_pipeline_stage": type(None),
        "account_for_embedding_in_pipeline_split": bool,
        "account_for_loss_in_pipeline_split": bool,
        "recompute_granularity": str,
        "recompute_method": str,
        "recompute_num_layers": int,
        "recompute_modules": list,
    },
    "dataset": {"seq_length": int},
    "train": {"micro_batch_size": int, "global_batch_size": int},
    "mixed_precision": str,
    "ddp": {"use_distributed_optimizer": bool, "overlap_grad_reduce": bool, "overlap_param_gather": bool},
    "optimizer": {"use_distributed_optimizer": bool, "overlap_param_gather": bool, "clip_grad": float},
}
"""Fields of ConfigContainer and of the model providers that the export sets (Megatron-Bridge, commit 067f987)."""


def read(problem: Problem, name: str = "1f1b", **options: Any) -> dict[str, Any]:
    found = MegatronBridge().export(planned(problem, name), problem, MegatronOptions(**options))
    document: dict[str, Any] = yaml.safe_load(found.text)
    assert json.loads(found.beside[".json"])["schema"] == "planner/megatron-layout@1"
    return document


def test_the_overrides_of_an_interleaved_plan() -> None:
    problem = made(layers(6), 2, microbatches=4, tensor=2, data=3, experts=8, expert=3)
    document = read(problem, "interleaved-1f1b")
    assert document["model"] == {
        "tensor_model_parallel_size": 2,
        "sequence_parallel": True,
        "context_parallel_size": 1,
        "expert_model_parallel_size": 3,
        "expert_tensor_parallel_size": 2,
        "pipeline_model_parallel_size": 2,
        "virtual_pipeline_model_parallel_size": 2,
        "pipeline_model_parallel_layout": "Et|(tt|)*2tL",
        "num_layers": 6,
        "num_moe_experts": 8,
        "moe_token_dispatcher_type": "alltoall",
        "seq_length": 4096,
        "share_embeddings_and_output_weights": False,
        "num_layers_in_first_pipeline_stage": None,
        "num_layers_in_last_pipeline_stage": None,
        "account_for_embedding_in_pipeline_split": False,
        "account_for_loss_in_pipeline_split": False,
    }
    assert document["train"] == {"micro_batch_size": 1, "global_batch_size": 12}
    assert document["dataset"] == {"seq_length": 4096}
    assert document["mixed_precision"] == "bf16_mixed"
    assert document["ddp"] == dict.fromkeys(
        ("use_distributed_optimizer", "overlap_grad_reduce", "overlap_param_gather"), True
    )
    assert document["optimizer"]["clip_grad"] == 0.0


def test_names_and_types_are_those_of_megatron_bridge() -> None:
    for of in ({"data": 2}, {"experts": 4, "data": 4, "expert": 2}, {"tensor": 4, "tied": True}, {"zero": 0}):
        for name, value in read(made(layers(6), 2, **of)).items():
            known = KNOWN[name]
            if not isinstance(known, dict):
                assert isinstance(value, known)
                continue
            for field, inner in value.items():
                assert isinstance(inner, known[field]), f"{name}.{field}"


def test_one_stage_a_rank_undoes_the_virtual_stages_of_a_recipe() -> None:
    assert read(made(layers(6), 2))["model"]["virtual_pipeline_model_parallel_size"] is None


def test_refusals_are_those_of_megatron() -> None:
    problem = made(layers(6), 2)
    plan = one_at_a_time(problem, [0, 0, 1, 1, 1, 1, 0, 0])
    with pytest.raises(CannotExport, match=r"the nearest that fits is .*--repair exports it"):
        MegatronBridge().export(plan, problem, MegatronOptions())
    repaired = MegatronBridge().export(plan, problem, MegatronOptions(repair=True))
    assert yaml.safe_load(repaired.text)["model"]["pipeline_model_parallel_size"] == 2
