"""DeepSeek-V3 with all its layers, embedding and head, on sixteen H800."""

from __future__ import annotations

from dataclasses import dataclass

from configurations.deepseek_figures import H800_BYTES, H800_RESERVE, DeepSeekSizes
from configurations.deepseek_layer import measured, moe_layer
from configurations.entries import entries, entry
from configurations.text import Config, comment, header, rounded
from planner.importers.document import OperatorDraft
from planner.problem.graph import Pass

NAME = "deepseek-v3-61-layers"
MEMORY_BANDWIDTH = 3.35e12  # bytes/s, NVIDIA's data sheet of the H100, the same silicon
DEVICES, MICROBATCHES = 16, 32


@dataclass(frozen=True)
class FullSizes(DeepSeekSizes):
    """Bytes and FLOP of what stands around the MoE layers; dimensions from config_671B.json."""

    vocabulary: int = 129280
    dense_width: int = 18432

    @property
    def dense_attention_parameters(self) -> int:
        """As in a MoE layer, without the router."""
        kept = self.router_and_norms - self.routed * self.hidden
        weights = self.attention_weights
        return 5 * weights + 8 * weights // self.ranks + 6 * kept + 8 * kept // self.ranks

    @property
    def dense_weights(self) -> int:
        """Elements of gate, up and down."""
        return 3 * self.hidden * self.dense_width

    @property
    def dense_parameters(self) -> int:
        """Held by all 64 ranks, as the attention: 1 FP8 + 4 gradient + 8/64 a weight."""
        return 5 * self.dense_weights + 8 * self.dense_weights // self.ranks

    @property
    def dense_activation(self) -> int:
        """Bytes a microbatch, for W: inputs and output gradients of gate, up and down, FP8 (more than F stores)."""
        widths = (self.hidden, 2 * self.dense_width, self.dense_width, self.hidden)
        return self.tokens * sum(map(self.fp8, widths))

    @property
    def table(self) -> int:
        """Elements of the embedding, and of the head."""
        return self.vocabulary * self.hidden

    @property
    def table_parameters(self) -> int:
        """BF16: 2 + 4 gradient + 8/64 a weight."""
        return 6 * self.table + 8 * self.table // self.ranks

    @property
    def logits_activation(self) -> int:
        """The head's input and the logits (later their gradient), BF16."""
        return self.tokens * 2 * (self.hidden + self.vocabulary)

    @property
    def expert_flops(self) -> int:
        """FLOP of one pass of the experts: 9 rows a token."""
        return 2 * self.tokens * self.rows * self.expert_weights

    @property
    def dense_flops(self) -> int:
        """FLOP of one pass of a dense MLP."""
        return 2 * self.tokens * self.dense_weights

    @property
    def head_flops(self) -> int:
        """FLOP of one pass of the head."""
        return 2 * self.tokens * self.table


def deepseek_full() -> Config:
    """Embedding, 3 dense layers, 58 MoE layers, head."""
    s = FullSizes()
    cap = H800_BYTES - H800_RESERVE
    graph = (
        header(
            NAME,
            "",
            f"""
DeepSeek-V3 whole: embedding, 3 dense layers, 58 MoE layers and head on 16 pipeline stages of H800.

As in configs/deepseek-v3-h800 a device stands for one of the 64 expert-parallel ranks of a stage, a microbatch is one
sequence of 4096 tokens a rank, and times, dimensions, precision and bytes of the MoE layers are those derived there
from DeepSeek's trace (github.com/deepseek-ai/profile-data), config_671B.json and the technical report (arXiv
2412.19437). The multi-token prediction module is left out.

What stands around the MoE layers was not measured. Derived, from FLOP relative to measured operators:
- dense MLP (width {s.dense_width}): {rounded(s.dense_flops, "FLOP")} a pass, the experts' 9 rows a token have
  {rounded(s.expert_flops, "FLOP")}. It takes the experts' times x {s.dense_flops / s.expert_flops:g}, pass by pass.
- attention of a dense layer: as measured in a MoE layer, whose router (0.6 % of its GEMM FLOP) it does not have.
- head (vocabulary {s.vocabulary}, BF16): {rounded(s.head_flops, "FLOP")} a pass at half of the rate that the experts
  reach in FP8, pass by pass: the experts' times x 2 x {s.head_flops / s.expert_flops:.4g}.
- embedding: a gather that reads and writes BF16 rows in F; no input gradient; in W it reads BF16 gradients and adds
  to FP32 ones (2 + 8 bytes an element), at the {MEMORY_BANDWIDTH / 1e12:g} TB/s of the memory.

Bytes, beside those of configs/deepseek-v3-h800:
- `parameters`: dense MLP {s.dense_weights:,} weights x (1 FP8 + 4 FP32 gradient + 8/64 master and moments); embedding
  and head {s.table:,} weights each x (2 BF16 + 4 + 8/64), on every rank of their stage.
- `activation`: dense MLP, for W, FP8 inputs and output gradients of its three GEMMs; embedding the token numbers (8
  bytes); head its input and the logits in BF16.
- `output`: the hidden state in BF16, {s.stage_output:,} B; inside a dense layer the residual stream travels too.

Memory: all parameters are {_parameters(s) / 1e9:.0f} GB, {_parameters(s) / DEVICES / 1e9:.1f} GB a device of
{cap / 1e9:.1f} GB, and a microbatch leaves {_activation(s) / 1e9:.1f} GB in the model. Of the published schedules
V-Half (55.3 GiB on the fullest device) and V-Min (41.2 GiB) fit into the {cap / 2**30:.1f} GiB of a device. 1F1B needs
83.6 GiB, ZB1P and ZB-V 88.3, DualPipe-V 89.2, DualPipe 106 with its two copies, interleaved 1F1B 114, GPipe and ZB2P
164 (`planner baseline NAME`).
""",
        )
        + f"schema: planner/graph@1\nname: {NAME}\nmicrobatches: {MICROBATCHES}\noperators:\n"
        + entry(embedding(s))
        + "  - block: dense\n    repeat: 3\n    inputs: [embed]\n    operators:\n"
        + entries(dense_layer(s), 6)
        + "  - block: layer\n    repeat: 58\n    inputs: [dense]\n    operators:\n"
        + entries(moe_layer(s), 6)
        + entry(head(s))
    )
    cluster = (
        comment(
            f"""
Sixteen pipeline stages of H800, each on machines of its own (64 ranks = 8 machines a stage). Memory and network as in
configs/deepseek-v3-h800: {H800_BYTES:,} B less 4 GiB; one 400 Gb/s InfiniBand port a GPU, latency 10 us (ours).
"""
        )
        + f"schema: planner/cluster@1\nname: h800x{DEVICES}\ndevice_types:\n  h800: {{memory: {cap}}}\ndevices:\n"
        + "".join(f"  - {{name: gpu{d}, type: h800, node: n{d}}}\n" for d in range(DEVICES))
        + "network:\n  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}\n"
    )
    return Config(NAME, graph, cluster)


def embedding(s: FullSizes) -> OperatorDraft:
    """A gather, and the sum of its gradients."""
    moved = s.tokens * s.hidden / MEMORY_BANDWIDTH
    times = {Pass.F: 4 * moved, Pass.I: 0.0, Pass.W: 10 * moved}
    return OperatorDraft("embed", times, parameters=s.table_parameters, activation=8 * s.tokens, output=s.stage_output)


def dense_layer(s: FullSizes) -> list[OperatorDraft]:
    """Attention and MLP."""
    attention = OperatorDraft(
        "attention",
        measured("attention"),
        parameters=s.dense_attention_parameters,
        activation=s.attention_activation,
        output=2 * s.stage_output,  # the normalised input of the MLP, and the residual stream
    )
    mlp = OperatorDraft(
        "mlp",
        measured("experts", s.dense_flops / s.expert_flops),
        ("attention",),
        parameters=s.dense_parameters,
        activation=s.dense_activation,
        output=s.stage_output,
    )
    return [attention, mlp]


def head(s: FullSizes) -> OperatorDraft:
    """The matrix product with the vocabulary."""
    return OperatorDraft(
        "head",
        measured("experts", 2 * s.head_flops / s.expert_flops),
        ("layer",),
        parameters=s.table_parameters,
        activation=s.logits_activation,
    )


def _parameters(s: FullSizes) -> int:
    return 2 * s.table_parameters + 3 * (s.dense_attention_parameters + s.dense_parameters) + 58 * s.layer_parameters


def _activation(s: FullSizes) -> int:
    drafts = [embedding(s), *3 * dense_layer(s), *58 * moe_layer(s), head(s)]
    return round(sum(draft.activation for draft in drafts))
