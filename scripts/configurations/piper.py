"""Piper's BERT-32 on eight A100."""

from __future__ import annotations

from configurations.entries import entries
from configurations.tables import read_table
from configurations.text import Config, comment, header
from planner.importers.document import OperatorDraft
from planner.problem.graph import Pass

NAME = "piper-bert32"
MICROBATCHES = 32
HIDDEN_STATE = 31_457_280  # bytes that a layer sends
MEMORY = 80_000_000_000


def bert32() -> Config:
    """Embedding, 32 layers, pooler."""
    rows = [row for row in read_table("piper_bert32") if row["name"] != "tensor"]
    layers = [row for row in rows if row["name"] == "ParallelTransformerLayer"]
    total = sum(float(row["time"]) for row in rows)
    held = sum(int(row["memory_b"]) for row in rows)
    drafts: list[OperatorDraft] = []
    for row in rows:
        label = f"layer{layers.index(row)}" if row in layers else row["name"].lower()
        reads = (drafts[-1].name,) if drafts else None
        drafts.append(_draft(row, label, reads))
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
        + entries(drafts)
    )
    cluster = (
        comment(
            "Eight A100 of 80 GB with 25 GB/s from one to another, as in the source (up to 10 there); latency ours."
        )
        + f"schema: planner/cluster@1\nname: a100x8\ndevice_types:\n  a100: {{memory: {MEMORY}}}\ndevices:\n"
        + "  - {name: gpu, type: a100, count: 8}\nnetwork:\n  within_node: {bandwidth: 25 GB/s, latency: 10 us}\n"
    )
    return Config(NAME, graph, cluster)


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
