"""DeepSeek-V3's whole steps: what each operator may keep or recompute, then gradients, optimizer and weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

from configurations.deepseek_figures import H800_BYTES, H800_RESERVE
from configurations.deepseek_full import MEMORY_BANDWIDTH, FullSizes, dense_layer, embedding, head
from configurations.deepseek_layer import moe_layer
from configurations.entries import entries, entry
from configurations.text import Config, comment, header
from planner.importers.document import OperatorDraft, VariantDraft
from planner.importers.transformer.step import ring
from planner.problem.graph import Pass

BANDWIDTH = 50e9  # bytes/s of a 400 Gb/s port, one a GPU
GRADIENT = 4  # bytes, FP32
STATE = 4 + 2 + 2  # bytes: FP32 master weight, BF16 moments
FP8, BF16 = 1, 2  # bytes of a weight


@dataclass(frozen=True)
class Held:
    """Weights of one rank, by bytes (1 or 2) and by whether all ranks of the stage hold the same."""

    fp8: int = 0
    bf16: int = 0
    alone: int = 0  # FP8; no other rank has them

    def step(self, ranks: int) -> dict[Pass, float]:
        """Seconds of R, U and G."""
        shared = self.fp8 + self.bf16
        times = {
            Pass.U: (self.touched(shared, self.fp8) / ranks + self.touched(self.alone, self.alone)) / MEMORY_BANDWIDTH
        }
        if shared:
            times[Pass.R] = ring(GRADIENT * shared, ranks, BANDWIDTH)
            times[Pass.G] = ring(FP8 * self.fp8 + BF16 * self.bf16, ranks, BANDWIDTH)
        return times

    @staticmethod
    def touched(weights: int, fp8: int) -> int:
        """Bytes that Adam moves: gradient read, state read and written, low-precision weight written."""
        return weights * (GRADIENT + 2 * STATE) + FP8 * fp8 + BF16 * (weights - fp8)

    @property
    def gradient(self) -> int:
        """Bytes that two copies of the operator exchange."""
        return GRADIENT * (self.fp8 + self.bf16 + self.alone)


@dataclass(frozen=True)
class WholeSizes(FullSizes):
    """What an operator keeps if its backward pass is one, and if it runs forward again; the weights behind it."""

    @property
    def dense_stored(self) -> int:
        """A token, F to I: input and the two inputs of SwiGLU, FP8."""
        return self.fp8(self.hidden) + self.fp8(2 * self.dense_width)

    def held(self, operator: str) -> Held:
        """The weights of an operator; ``dense attention`` is that of a layer without router."""
        kept = self.router_and_norms
        return {
            "attention": Held(self.attention_weights, kept),
            "dense attention": Held(self.attention_weights, kept - self.routed * self.hidden),
            "mlp": Held(self.dense_weights),
            "experts": Held(self.shared * self.expert_weights, alone=self.routed // self.ranks * self.expert_weights),
            "embed": Held(bf16=self.table),
            "head": Held(bf16=self.table),
        }.get(operator, Held())

    def kept(self, operator: str) -> tuple[int, int] | None:
        """Bytes a token, F to I: if it recomputes, and if its backward pass is one; None if it has no variants."""
        return {
            "attention": (2 * self.hidden, self.attention_stored),
            "mlp": (self.fp8(self.hidden), self.dense_stored),
            "experts": (self.rows * self.fp8(self.hidden), self.experts_stored),
        }.get(operator)


def configs() -> list[Config]:
    """The whole model on sixteen devices, and 32 of its layers on eight."""
    return [_model(), _layers()]


def _model() -> Config:
    name, s = "deepseek-v3-61-layers-whole", WholeSizes()
    first = [whole(o, s, "dense attention" if o.name == "attention" else o.name) for o in dense_layer(s)]
    operators = (
        entry(whole(embedding(s), s, "embed"))
        + "  - block: dense\n    repeat: 3\n    inputs: [embed]\n    operators:\n"
        + entries(first, 6)
        + "  - block: layer\n    repeat: 58\n    inputs: [dense]\n    operators:\n"
        + entries((whole(o, s, o.name) for o in moe_layer(s)), 6)
        + entry(whole(head(s), s, "head"))
    )
    mlp, table = s.held("mlp"), s.held("head")
    more = f"""

Around the MoE layers:
- dense MLP: {s.dense_stored:,} B a token with `fused` (as the experts, one row), {s.fp8(s.hidden):,} with `recompute`
  (its FP8 input); {mlp.fp8:,} weights, FP8.
- embedding and head: {table.bf16:,} weights each, BF16. No variants: the embedding keeps token numbers only, and the
  head is last, so that a plan that runs its three passes in a row holds one microbatch, as `recompute` would.
"""
    text = """
DeepSeek-V3's whole step: configs/deepseek-v3-61-layers (embedding, 3 dense layers, 58 MoE layers and head on 16 H800),
whose operators may recompute, and whose gradients, optimizer and weights take their time.
"""
    return _config(name, name, 32, 16, "", text, operators, s, more)


def _layers() -> Config:
    name, s = "deepseek-v3-h800-whole", WholeSizes()
    operators = "  - block: layer\n    repeat: 32\n    output: combine\n    operators:\n" + entries(
        (whole(o, s, o.name) for o in moe_layer(s)), 6
    )
    text = """
The whole step of 32 MoE layers of DeepSeek-V3: configs/deepseek-v3-h800 (8 H800), whose operators may recompute, and
whose gradients, optimizer and weights take their time.
"""
    return _config(name, "deepseek-v3-32-layers-whole", 20, 8, "--copies 2", text, operators, s, "")


def whole(operator: OperatorDraft, s: WholeSizes, weights: str) -> OperatorDraft:
    """The operator with its variants and step tasks; ``weights`` names those that it holds."""
    held, variants, kept = s.held(weights), (), s.kept(operator.name)
    if kept is not None:
        times = operator.times
        backward = times[Pass.I] + times[Pass.W]
        variants = tuple(
            VariantDraft(name, {Pass.F: times[Pass.F], Pass.I: seconds}, s.tokens * size)
            for name, seconds, size in zip(
                ("recompute", "fused"), (times[Pass.F] + backward, backward), kept, strict=True
            )
        )
    step = held.step(s.ranks) if held.gradient else {}
    return replace(operator, variants=variants, step=step, gradient=held.gradient)


def _config(
    folder: str,
    name: str,
    microbatches: int,
    devices: int,
    flags: str,
    text: str,
    operators: str,
    s: WholeSizes,
    more: str,
) -> Config:
    """The pair of files; what is said once, of attention and experts, in the head comment."""
    attention, experts = s.held("attention"), s.held("experts")
    known, other = folder.removesuffix("-whole"), f"{s.ranks - 1}/{s.ranks}"
    graph = (
        header(
            folder,
            flags,
            f"""
{text.strip()} Times, sizes and their sources are there and in configs/deepseek-v3-h800; what follows is new.

`variants`, from the measured times and the bytes of what F stores:
- `fused`: no separate weight gradient. `input_grad` takes both measured times, and what is held is what F stores, not
  the larger inputs of W: {s.attention_stored:,} B a token for the attention, {s.experts_stored:,} for the experts.
- `recompute`: only the input is held, and `input_grad` runs forward again before both gradients (forward + input_grad +
  weight_grad as measured, which runs MLA's up-projections, RMSNorm and SwiGLU twice: an upper estimate). Attention: its
  BF16 input, {2 * s.hidden:,} B a token. Experts: their {s.rows} FP8 rows, {s.rows * s.fp8(s.hidden):,} B a token, so
  that dispatch does not run again. A forward pass beside an all-to-all takes as long in the backward pass (ours).

`step`, for the set-up of the technical report (arXiv 2412.19437, sections 3.1 to 3.3) as in configs/deepseek-v3-h800:
{s.ranks} ranks a stage that hold the same attention, router and shared expert, ZeRO-1 over them, 4 routed experts on
each rank and no second replica of those.
- `reduce`: {other} of the FP32 gradients leave a rank in a ring's reduce-scatter, over the {BANDWIDTH / 1e9:g} GB/s of
  its 400 Gb/s port: {GRADIENT} B x ({attention.fp8:,} + {attention.bf16:,}) weights of attention and router,
  {GRADIENT} B x {experts.fp8:,} of the shared expert. Nothing for the routed experts.
- `update`: Adam reads the gradient ({GRADIENT} B), reads and writes FP32 master weights and BF16 moments (2 x {STATE}),
  and writes the weight (1 FP8, 2 BF16), at the {MEMORY_BANDWIDTH / 1e12:g} TB/s of the memory: for 1/{s.ranks} of the
  shared weights and all {experts.alone:,} weights of the routed experts.
- `gather`: {other} of the new weights arrive over the same port, 1 B each (FP8) or 2 B (BF16: router, norms).
- `gradient`: the FP32 gradients that a rank sends to its counterpart where a second copy of the layer is elsewhere:
  all of attention and router, and all {(experts.fp8 + experts.alone) // s.expert_weights} experts of the rank.
- `clip_gradients`: the report clips the norm of all gradients at 1.0 (section 4.2).{more.rstrip()}

Without latencies of the collectives, without waiting for slower ranks; the sum of the norm itself is not counted.
""",
        )
        + f"schema: planner/graph@1\nname: {name}\nmicrobatches: {microbatches}\nclip_gradients: true\noperators:\n"
        + operators
    )
    cluster = (
        comment(
            f"""
{devices} pipeline stages of H800, each on machines of its own (64 ranks = 8 machines a stage). Memory and network as in
configs/{known}: {H800_BYTES:,} B less 4 GiB; one 400 Gb/s InfiniBand port a GPU, latency 10 us (ours).
"""
        )
        + f"schema: planner/cluster@1\nname: h800x{devices}\ndevice_types:\n"
        + f"  h800: {{memory: {H800_BYTES - H800_RESERVE}}}\ndevices:\n"
        + "".join(f"  - {{name: gpu{d}, type: h800, node: n{d}}}\n" for d in range(devices))
        + "network:\n  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}\n"
    )
    return Config(folder, graph, cluster)
