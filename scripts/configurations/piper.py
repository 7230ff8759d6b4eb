"""Piper's BERT-32 on eight A100."""

from __future__ import annotations

from dataclasses import replace

from configurations.entries import ResidentVariant, entries
from configurations.tables import read_table
from configurations.text import Config, comment, header
from planner.importers.document import OperatorDraft
from planner.problem.graph import Pass

NAME = "piper-bert32"
CHOOSE = "piper-bert32-choose"
MICROBATCHES = 32
HIDDEN_STATE = 31_457_280  # bytes that a layer sends
MEMORY = 80_000_000_000


def bert32() -> Config:
    """Embedding, 32 layers, pooler."""
    rows = _rows()
    total = sum(float(row["time"]) for row in rows)
    held = sum(int(row["memory_b"]) for row in rows)
    graph = (
        header(
            NAME,
            "",
            f"""
BERT with 32 layers, layer by layer, on 8 A100 80 GB.

Source: github.com/msr-fiddle/piper inputs/bert32a100.json (MIT, Microsoft). Each layer has alternatives there; taken is
tensor-parallel degree 1 without recomputation ("vanilla"), the others are ignored: {total:.6f} s forward and backward
a microbatch, {held:,} B of weights and gradients.

- `time`: the source has one time for forward and backward. A third each for F, I and W, since a GEMM's two gradients
  take as long as its forward pass; a third for F and the rest for W in the embedding, which has no input gradient.
- `parameters`: memory_b, what a stage holds for good in Piper's model: weights and gradients, no optimizer state.
- `activation`: memory_a, held for every microbatch in flight.
- `output`: the hidden state, {HIDDEN_STATE:,} B (4096 tokens of 1920 32-bit floats). From the second layer on the
  source's edges carry this size and that of the attention mask, 16,777,216 B, the wrong way round.
- Left out: the three input tensors (ids 0, 2, 4; no time, no weights). Every device loads them itself, and a mask sent
  along would bring a gradient back.
- Piper plans 1920 microbatches in a batch; {MICROBATCHES} here, and `--microbatches 1920` gives its number.
""",
        )
        + f"schema: planner/graph@1\nname: {NAME}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + entries(_drafts())
    )
    return Config(NAME, graph, _cluster())


def choose() -> Config:
    """The same, and each layer may recompute."""
    graph = (
        header(
            CHOOSE,
            "",
            """
BERT with 32 layers on 8 A100 80 GB, each of which may recompute: configs/piper-bert32 with the source's alternatives.

Source: github.com/msr-fiddle/piper inputs/bert32a100.json (MIT, Microsoft), tensor-parallel degree 1: "vanilla" is
base, "activation recomp" is `recompute`. Times, sizes and what is left out are as in configs/piper-bert32.

- `time` of `recompute`: the source has one time for forward and backward. Forward stays as it is in base, the rest is
  `input_grad`, which makes the weights' gradients, too; the embedding has no input gradient, so it is `weight_grad`.
- `activation`: memory_a of the alternative, what every microbatch in flight holds.
- `parameters`: its memory_b, what a stage holds for good. Recomputation takes 558,505,984 B more of it in a layer, the
  space into which forward runs again; two layers on one device do not share it in Piper's model.
- The pooler takes nothing and holds the same in both, so it has no variant.
""",
        )
        + f"schema: planner/graph@1\nname: {CHOOSE}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + entries(map(_with_recomputation, _rows(), _drafts()))
    )
    return Config(CHOOSE, graph, _cluster())


def _with_recomputation(row: dict[str, str], draft: OperatorDraft) -> OperatorDraft:
    again = next(found for found in read_table("piper_bert32_recomputed") if found["id"] == row["id"])
    if float(again["time"]) == float(row["time"]):
        return draft
    forward, first = draft.times[Pass.F], draft.inputs is None
    rest = float(again["time"]) - forward
    times = {Pass.F: forward, Pass.I: 0.0, Pass.W: rest} if first else {Pass.F: forward, Pass.I: rest}
    sizes = {"activation": float(again["memory_a"]), "parameters": float(again["memory_b"])}
    return replace(draft, variants=(ResidentVariant("recompute", times, **sizes),))


def _rows() -> list[dict[str, str]]:
    return [row for row in read_table("piper_bert32") if row["name"] != "tensor"]


def _drafts() -> list[OperatorDraft]:
    """Each layer reads the one before."""
    drafts: list[OperatorDraft] = []
    layers = 0
    for row in _rows():
        layer = row["name"] == "ParallelTransformerLayer"
        label = f"layer{layers}" if layer else row["name"].lower()
        layers += layer
        drafts.append(_draft(row, label, (drafts[-1].name,) if drafts else None))
    return drafts


def _cluster() -> str:
    return (
        comment(
            "Eight A100 of 80 GB with 25 GB/s from one to another, as in the source (up to 10 there); latency ours."
        )
        + f"schema: planner/cluster@1\nname: a100x8\ndevice_types:\n  a100: {{memory: {MEMORY}}}\ndevices:\n"
        + "  - {name: gpu, type: a100, count: 8}\nnetwork:\n  within_node: {bandwidth: 25 GB/s, latency: 10 us}\n"
    )


def _draft(row: dict[str, str], label: str, reads: tuple[str, ...] | None) -> OperatorDraft:
    third = float(row["time"]) / 3
    first = reads is None
    times = {Pass.F: third, Pass.I: 0.0 if first else third, Pass.W: 2 * third if first else third}
    return OperatorDraft(
        label,
        times,
        reads,
        parameters=float(row["memory_b"]),
        activation=float(row["memory_a"]),
        output=0.0 if label == "pooler" else HIDDEN_STATE,
    )
