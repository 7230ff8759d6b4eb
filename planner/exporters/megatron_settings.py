"""What Megatron has to be told beside the layout: degrees, batch, precision, optimizer, experts.

Values come from ``origin`` of graph.yaml. Flags are those of ``megatron/training/arguments.py`` of Megatron-LM (and of
the configurations from which it makes arguments) at commit d98e8a6; fields those of Megatron-Bridge's
``ConfigContainer`` at commit 067f987, where ``docs/megatron-lm-to-megatron-bridge.md`` maps one to the other.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from planner.problem.made_from import MadeFrom

MISSING = (
    *("--tensor-model-parallel-size", "--context-parallel-size", "--expert-model-parallel-size", "--seq-length"),
    *("--micro-batch-size", "--global-batch-size", "--bf16", "--use-distributed-optimizer", "--overlap-grad-reduce"),
    *("--num-experts", "--untie-embeddings-and-output-weights", "--clip-grad"),
)
"""What only ``origin`` tells."""

Value = str | int | float | tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One setting: a flag of Megatron-LM with its value (None: it takes none), and fields of Megatron-Bridge.

    An empty ``flag``: Megatron-LM needs none.
    """

    flag: str
    value: Value | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        values = () if self.value is None else self.value if isinstance(self.value, tuple) else (str(self.value),)
        return " ".join((self.flag, *map(shlex.quote, values)))


def model(name: str, value: Value, flag: str = "") -> Setting:
    """A setting whose flag is named as the field of the model: ``--num-layers`` and ``model.num_layers``."""
    return Setting(flag or f"--{name.replace('_', '-')}", value, {f"model.{name}": value})


@dataclass(frozen=True)
class Step:
    """What the plan says of a step: its pipeline ranks and microbatches, and whether gradients are clipped."""

    ranks: int
    microbatches: int
    clips: bool


def degrees(origin: MadeFrom) -> Iterator[Setting]:
    """The ranks of a stage. Experts are split over tensor ranks as the other layers are."""
    yield model("tensor_model_parallel_size", origin.tensor)
    yield Setting(
        "--sequence-parallel" if origin.tensor > 1 else "", None, _true("model.sequence_parallel", origin.tensor)
    )
    yield model("context_parallel_size", origin.context)
    if origin.experts:
        yield model("expert_model_parallel_size", origin.expert)
        yield model("expert_tensor_parallel_size", origin.tensor)


def _true(name: str, ranks: int) -> dict[str, Any]:
    """A field that is set where there are several ranks."""
    return {name: ranks > 1}


def experts(origin: MadeFrom) -> Iterator[Setting]:
    """The routed experts, and the all-to-all that the graph's dispatch is."""
    if origin.experts:
        yield Setting("--num-experts", origin.experts, {"model.num_moe_experts": origin.experts})
        if origin.expert > 1:
            yield model("moe_token_dispatcher_type", "alltoall")


def batch(origin: MadeFrom, step: Step) -> Iterator[Setting]:
    """The tokens of a sequence, the sequences of a microbatch and of a step."""
    if origin.sequence is not None:
        fields = {"model.seq_length": origin.sequence, "dataset.seq_length": origin.sequence}
        yield Setting("--seq-length", origin.sequence, fields)
    yield Setting("--micro-batch-size", origin.micro_batch, {"train.micro_batch_size": origin.micro_batch})
    sequences = origin.sequences(step.microbatches)
    yield Setting("--global-batch-size", sequences, {"train.global_batch_size": sequences})


def precision(origin: MadeFrom) -> Iterator[Setting]:
    """The precision of matrix products; FP8 as in DeepSeek-V3: blocks, E4M3 alone, weights kept in FP8."""
    if origin.precision == "fp32":
        yield Setting("", None, {"mixed_precision": None})
        return
    fp8 = origin.precision == "fp8"
    name = "bf16_with_fp8_subchannel_scaling_mixed" if fp8 else "bf16_mixed"
    yield Setting("--bf16", None, {"mixed_precision": name})
    if fp8:
        yield Setting("--fp8-format", "e4m3")
        yield Setting("--fp8-recipe", "blockwise")
        if origin.zero:
            yield Setting("--fp8-param-gather")


def replicas(origin: MadeFrom, step: Step) -> Iterator[Setting]:
    """How the replicas of a stage share the optimizer and when they reduce gradients and gather weights.

    ZeRO 1 is the distributed optimizer. Megatron-FSDP shards more; with one pipeline rank alone, see ``shards_less``.
    """
    if origin.zero:
        on = {"ddp.use_distributed_optimizer": True, "optimizer.use_distributed_optimizer": True}
        yield Setting("--use-distributed-optimizer", None, on)
    else:
        off = {"ddp.use_distributed_optimizer": False, "optimizer.use_distributed_optimizer": False}
        yield Setting("", None, off)
    if origin.zero > 1:
        strategy = "optim_grads" if origin.zero == 2 else "optim_grads_params"
        yield Setting("--use-megatron-fsdp", None, {"dist.use_megatron_fsdp": True, "ddp.use_megatron_fsdp": True})
        yield Setting("--data-parallel-sharding-strategy", strategy, {"ddp.data_parallel_sharding_strategy": strategy})
        yield Setting("--ckpt-format", "fsdp_dtensor", {"checkpoint.ckpt_format": "fsdp_dtensor"})
    if origin.data * origin.context > 1:
        yield Setting("--overlap-grad-reduce", None, {"ddp.overlap_grad_reduce": True})
        if origin.zero:
            both = {"ddp.overlap_param_gather": True, "optimizer.overlap_param_gather": True}
            yield Setting("--overlap-param-gather", None, both)
    clip = 1.0 if step.clips else 0.0
    yield Setting("--clip-grad", clip, {"optimizer.clip_grad": clip})


def heads(origin: MadeFrom) -> Iterator[Setting]:
    """Whether embedding and output layer share their matrix."""
    fields = {"model.share_embeddings_and_output_weights": origin.tied}
    yield Setting("" if origin.tied else "--untie-embeddings-and-output-weights", None, fields)


def remarks(origin: MadeFrom, step: Step) -> Iterator[str]:
    """What the settings do not say, or say otherwise than the graph."""
    gpus = origin.ranks * step.ranks
    yield (
        f"{gpus} GPUs: {step.ranks} pipeline ranks of {origin.ranks} (tensor {origin.tensor} x context "
        f"{origin.context} x data {origin.data}); sizes of the model itself ({origin.model}) are not in it"
    )
    if origin.optimizer not in (None, "adam-fp32-master", "none"):
        yield (
            f"the optimizer of the graph is {origin.optimizer}, and Megatron's Adam keeps 18 bytes a weight before "
            "sharding: leave memory for it, or import with --optimizer adam-fp32-master"
        )


def flags(settings: Iterable[Setting]) -> str:
    """One flag a line, quoted for a shell."""
    return "".join(f"{setting}\n" for setting in settings if setting.flag)


def arguments(settings: Iterable[Setting]) -> dict[str, Any]:
    """The flags by the names that Megatron's arguments have in Python."""
    return {
        s.flag.removeprefix("--").replace("-", "_"): True if s.value is None else _plain(s.value)
        for s in settings
        if s.flag
    }


def nested(settings: Sequence[Setting]) -> dict[str, Any]:
    """The fields as Megatron-Bridge's configuration nests them."""
    document: dict[str, Any] = {}
    for name, value in (entry for setting in settings for entry in setting.fields.items()):
        *groups, last = name.split(".")
        inner = document
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = _plain(value)
    return document


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
