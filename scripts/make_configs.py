"""Write configs/ from public dimensions and measured times.

Every number of the configs stands here, with its source and the formula that makes it bytes or FLOP, so that
the YAML files can be derived again: `python scripts/make_configs.py`. With `--check` nothing is written and
the exit code is 1 where a file differs.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
GIB = 1024**3


@dataclass(frozen=True)
class Config:
    """The text of one pair of files."""

    name: str
    graph: str
    cluster: str


def comment(text: str) -> str:
    """Paragraphs as YAML comments, filled; a line that starts with "- " begins an item."""
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        if lines:
            lines.append("")
        items: list[str] = []
        for line in paragraph.splitlines():
            if line.startswith("- ") or not items:
                items.append(line)
            else:
                items[-1] += " " + line.strip()
        for item in items:
            hanging = "  " if item.startswith("- ") else ""
            lines += textwrap.wrap(item, 106, subsequent_indent=hanging, break_on_hyphens=False)
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def header(name: str, flags: str, text: str) -> str:
    """The comment at the top of a graph: what it is, and how to run it."""
    files = f"configs/{name}/graph.yaml configs/{name}/cluster.yaml"
    return comment(text) + f"#\n# {' '.join(f'run: planner solve {files} {flags}'.split())}\n"


def rounded(value: float, unit: str) -> str:
    """A comment that reads easier than the exact number before it."""
    for prefix, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def size(field: str, value: int, indent: int) -> str:
    """A line with a size in bytes."""
    return f"{' ' * indent}{field}: {value}  # {rounded(value, 'B')}\n"


# -- unit pipelines: DualPipe's own setting ----------------------------------------------------------------


def dualpipe(devices: int, microbatches: int, optimum: int, published: int) -> Config:
    """Uniform stages, one unit a pass, free transfers, DualPipe's memory."""
    name = f"dualpipe-{devices}x{microbatches}"
    in_flight = devices + 1
    stages = "".join(
        f"  - {{name: stage{s}, time: {{forward: 1, input_grad: 1, weight_grad: 1}}, "
        "parameters: 1, activation: 1" + (f", inputs: [stage{s - 1}]}}\n" if s else "}\n")
        for s in range(devices)
    )
    graph = (
        header(
            name,
            "--copies 2 --layout bidirectional",
            f"""
DualPipe's setting in units: {devices} stages, {microbatches} microbatches, F = I = W = 1 s, free transfers.

Memory in units of one stage: its parameters are 1, what a microbatch leaves there is 1, held until W ends.
A device has room for 2 copies of a stage and {in_flight} activations, which is what DualPipe uses (2x
parameters, PP + 1 activations: the table of github.com/deepseek-ai/DualPipe).

DualPipe takes {published} s with its fused blocks. {optimum} s is optimal with two copies: a device in the
middle cannot start before {devices // 2 - 1} s and has {3 * microbatches} s of work.
""",
        )
        + "schema: planner/graph@1\n"
        + f"name: {name}\nmicrobatches: {microbatches}\noperators:\n{stages}"
    )
    cluster = (
        f"# {devices} equal devices, transfers free. memory: 2 copies of a stage + {in_flight} activations.\n"
        "schema: planner/cluster@1\n"
        f"name: unit-x{devices}\n"
        "device_types:\n"
        f"  unit: {{memory: {2 + in_flight}}}\n"
        "devices:\n"
        f"  - {{name: gpu, type: unit, count: {devices}}}\n"
    )
    return Config(name, graph, cluster)


# -- DeepSeek-V3 on H800 -----------------------------------------------------------------------------------

# Microseconds, means of the four MoE layers of one overlapped forward-and-backward chunk, as measured by
# DeepSeek on H800 (EP64, TP1, sequence 4096): figures derived from the trace train.json of
# github.com/deepseek-ai/profile-data (busy time of the operator's kernels on its stream). "B" of the trace is
# the input gradient.
DEEPSEEK_MICROSECONDS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "attention": {
        "forward": (4311, 4263, 4438, 4467),
        "input_grad": (9018, 9368, 9452, 9525),
        "weight_grad": (2375, 2382, 2392, 2405),
    },
    "dispatch": {"forward": (6059, 5706, 7077, 7919), "input_grad": (7302, 7909, 7271, 7465)},
    "experts": {
        "forward": (4250, 4384, 5175, 4606),
        "input_grad": (5693, 5408, 5407, 4716),
        "weight_grad": (5325, 5050, 5249, 4627),
    },
    "combine": {"forward": (7325, 8260, 9521, 9630), "input_grad": (4380, 5224, 6207, 7266)},
}


@dataclass(frozen=True)
class DeepSeekSizes:
    """Bytes of one MoE layer of DeepSeek-V3 on one of the 64 ranks of a stage.

    Dimensions: github.com/deepseek-ai/DeepSeek-V3 inference/configs/config_671B.json.
    Precision and recomputation: DeepSeek-V3 technical report, arXiv 2412.19437, section 3.
    """

    hidden: int = 7168
    heads: int = 128
    q_rank: int = 1536
    kv_rank: int = 512
    nope: int = 128
    rope: int = 64
    value: int = 128
    expert_width: int = 2048
    routed: int = 256
    shared: int = 1
    top_k: int = 8
    ranks: int = 64  # expert parallel
    tokens: int = 4096  # one sequence a microbatch

    @staticmethod
    def fp8(elements: int) -> int:
        """FP8 with one FP32 scale for 128 elements."""
        return elements + 4 * elements // 128

    # -- parameters --

    @property
    def attention_weights(self) -> int:
        """Elements of the five matrices of multi-head latent attention."""
        q_width, kv_width = self.heads * (self.nope + self.rope), self.heads * (self.nope + self.value)
        return (
            self.hidden * self.q_rank
            + self.q_rank * q_width
            + self.hidden * (self.kv_rank + self.rope)
            + self.kv_rank * kv_width
            + self.heads * self.value * self.hidden
        )

    @property
    def router_and_norms(self) -> int:
        """Elements kept in BF16: the router's matrix and the four norms."""
        return self.routed * self.hidden + 2 * self.hidden + self.q_rank + self.kv_rank

    @property
    def expert_weights(self) -> int:
        """Elements of one expert: gate, up and down."""
        return 3 * self.hidden * self.expert_width

    @property
    def attention_parameters(self) -> int:
        """1 FP8 + 4 FP32 gradient + (4 FP32 master + 2 + 2 BF16 moments) / 64 a weight; BF16: 2 for 1."""
        weights, kept = self.attention_weights, self.router_and_norms
        return 5 * weights + 8 * weights // self.ranks + 6 * kept + 8 * kept // self.ranks

    @property
    def experts_parameters(self) -> int:
        """Routed experts: nobody else holds these, 1 + 4 + 8 a weight; the shared one as attention."""
        routed = self.routed // self.ranks * self.expert_weights
        shared = self.shared * self.expert_weights
        return 13 * routed + 5 * shared + 8 * shared // self.ranks

    # -- activations: the larger of what F stores and what W reads --

    @property
    def attention_stored(self) -> int:
        """A token, F to I: BF16 input, latents and residual, E5M6 attention output, log-sum-exp, logits."""
        latents = self.q_rank + self.kv_rank + self.rope
        attended = self.heads * self.value
        return 2 * self.hidden + 2 * latents + attended * 3 // 2 + 4 * self.heads + 2 * self.hidden + 4 * self.routed

    @property
    def attention_for_w(self) -> int:
        """A token, for W: inputs and output gradients of the five GEMMs in FP8, and the router's two."""
        inputs = self.hidden + self.q_rank + self.kv_rank
        gradients = (
            self.q_rank
            + (self.kv_rank + self.rope)
            + self.heads * (self.nope + self.rope)
            + self.heads * (self.nope + self.value)
            + self.hidden
        )
        attended = self.heads * self.value * 3 // 2  # E5M6, 12 bits
        return self.fp8(inputs + gradients) + attended + 2 * self.hidden + 4 * self.routed

    @property
    def rows(self) -> int:
        """Rows an expert rank computes for each of its own tokens, balanced routing: 8 routed + 1 shared."""
        return self.top_k + self.shared

    @property
    def experts_stored(self) -> int:
        """A token, F to I: input rows and the two inputs of SwiGLU, FP8."""
        return self.rows * (self.fp8(self.hidden) + self.fp8(2 * self.expert_width))

    @property
    def experts_for_w(self) -> int:
        """A token, for W: inputs and output gradients of gate, up and down, FP8."""
        return self.rows * (
            self.fp8(self.hidden)
            + self.fp8(2 * self.expert_width)
            + self.fp8(self.expert_width)
            + self.fp8(self.hidden)
        )

    @property
    def attention_activation(self) -> int:
        """Bytes a microbatch."""
        return self.tokens * max(self.attention_stored, self.attention_for_w)

    @property
    def dispatch_activation(self) -> int:
        """The routing: for each of 8 experts an 8-byte index, a 4-byte weight and a 4-byte row number."""
        return self.tokens * self.top_k * (8 + 4 + 4)

    @property
    def experts_activation(self) -> int:
        """Bytes a microbatch."""
        return self.tokens * max(self.experts_stored, self.experts_for_w)

    # -- outputs, where the layer is cut there --

    @property
    def stage_output(self) -> int:
        """The hidden state in BF16: 4096 x 7168 x 2 = 58.7 MB."""
        return self.tokens * 2 * self.hidden

    @property
    def attention_output(self) -> int:
        """FP8 tokens to dispatch, routing, and the residual stream that passes by."""
        return self.tokens * (self.fp8(self.hidden) + self.top_k * (8 + 4)) + self.stage_output

    @property
    def dispatch_output(self) -> int:
        """The 9 FP8 rows a token, the routing, and the residual stream."""
        return self.tokens * (self.rows * self.fp8(self.hidden) + self.top_k * (8 + 4)) + self.stage_output

    @property
    def experts_output(self) -> int:
        """The 9 BF16 rows a token, and the residual stream."""
        return self.rows * self.stage_output + self.stage_output

    # -- sums --

    @property
    def layer_parameters(self) -> int:
        """Parameters of one layer."""
        return self.attention_parameters + self.experts_parameters

    @property
    def layer_activation(self) -> int:
        """Activation of one layer and microbatch."""
        return self.attention_activation + self.dispatch_activation + self.experts_activation


H800_BYTES = 84_943_110_144  # deviceProperties in the trace
H800_RESERVE = 4 * GIB  # ours: CUDA context, NCCL and DeepEP buffers, GEMM workspace, allocator slack


def deepseek() -> Config:
    """32 MoE layers of four operators, two streams, two copies' worth of memory."""
    name = "deepseek-v3-h800"
    s = DeepSeekSizes()
    cap = H800_BYTES - H800_RESERVE
    dualpipe_bytes = 8 * s.layer_parameters + 36 * s.layer_activation
    more = (cap - dualpipe_bytes) // s.layer_activation
    single = (cap - 4 * s.layer_parameters) // s.layer_activation

    def times(operator: str) -> str:
        means = {p: sum(v) / len(v) for p, v in DEEPSEEK_MICROSECONDS[operator].items()}
        return "        time: {" + ", ".join(f"{p}: {v:g} us" for p, v in means.items()) + "}\n"

    def operator(label: str, reads: str, sizes: dict[str, int], comm: bool = False) -> str:
        return (
            f"      - name: {label}\n"
            + (f"        inputs: [{reads}]\n" if reads else "")
            + ("        stream: comm\n" if comm else "")
            + times(label)
            + "".join(size(field, value, 8) for field, value in sizes.items())
        )

    graph = (
        header(
            name,
            "--copies 2",
            f"""
DeepSeek-V3: 32 of its MoE layers, operator by operator, on 8 pipeline stages of H800.

A device of the cluster file stands for one of the 64 expert-parallel ranks of a stage; the ranks of a
stage run in lockstep, so one of them is planned. One microbatch = one sequence of 4096 tokens a rank.

Times: means over the 4 layers of one overlapped chunk, measured by DeepSeek on H800 (EP64, TP1, balanced
routing), derived from the trace in github.com/deepseek-ai/profile-data. Compute kernels ran beside an
all-to-all that holds 20 of 132 SMs; dispatch and combine include waiting for peers and have no weights.

Dimensions: config_671B.json of github.com/deepseek-ai/DeepSeek-V3. Hidden 7168, 128 heads, MLA ranks 1536
(q) and 512 (kv), head dims 128 + 64 (rope) and 128 (value), 256 routed experts (4 a rank) + 1 shared, 8 a
token, expert width 2048.

Precision and recomputation as in the technical report (arXiv 2412.19437, section 3): FP8 GEMM weights, FP32
gradients, FP32 master weights, BF16 moments, ZeRO-1; RMSNorm, MLA up-projections and SwiGLU recomputed;
SwiGLU's inputs in FP8, the attention's output in E5M6 (12 bits). Our assumptions: ZeRO-1 shards over the 64
ranks what all of them hold; the optimizer state of the routed experts is not sharded (no second replica),
nor is any state shared between two copies of a layer; activations in FP8 carry one FP32 scale for 128
elements.

Bytes of `parameters`:
- attention: {s.attention_weights:,} weights x (1 FP8 + 4 FP32 gradient + 8/64 master and moments)
  + {s.router_and_norms:,} of router and norms x (2 BF16 + 4 + 8/64)
- experts: 4 routed x {s.expert_weights:,} x (1 + 4 + 8) + 1 shared x {s.expert_weights:,} x (1 + 4 + 8/64)

Bytes of `activation`, a token (x 4096). F stores little, thanks to recomputation; W needs the inputs and the
output gradients of its GEMMs. One size has to cover both, so it is the larger, that of W, held until W ends:
- attention: F stores {s.attention_stored:,} (input and residual BF16, latents BF16, attention output E5M6,
  log-sum-exp, router logits); W needs {s.attention_for_w:,} (FP8 inputs 7168 + 1536 + 512, FP8 gradients
  1536 + 576 + 24576 + 32768 + 7168, attention output E5M6, router input BF16 and logit gradients FP32)
- dispatch: {s.top_k * 16} (index, weight and row of 8 experts)
- experts: F stores {s.experts_stored:,} (9 rows, 8 routed + 1 shared, x FP8 of 7168 + 2 x 2048); W needs
  {s.experts_for_w:,} (9 rows x FP8 of 7168 + 2 x 2048 + 2048 + 7168)
- combine: 0 (it shares the routing of dispatch)

Bytes of `output`: combine sends the hidden state, 4096 x 7168 x 2 (BF16). Inside a layer the residual stream
travels too, so a cut there is allowed and dear: attention sends FP8 tokens, routing and residual; dispatch 9
FP8 rows, routing and residual; experts 9 BF16 rows and residual.

Does it fit? One layer has {s.layer_parameters:,} B of parameters and leaves {s.layer_activation:,} B a
microbatch. DualPipe holds 2 x 4 layers and 9 x 4 activations: {dualpipe_bytes:,} B of the {cap:,} B
that a device offers. {(cap - dualpipe_bytes) / 1e9:.2f} GB are left, {more} more layer activations. With one
copy {single} activations fit, of the {4 * 20} that 20 microbatches leave on 4 layers: memory decides how far
forward passes may run ahead.
""",
        )
        + "schema: planner/graph@1\nname: deepseek-v3-32-layers\nmicrobatches: 20\noperators:\n"
        + "  - block: layer\n    repeat: 32\n    output: combine\n    operators:\n"
        + operator(
            "attention",
            "",
            {
                "parameters": s.attention_parameters,
                "activation": s.attention_activation,
                "output": s.attention_output,
            },
        )
        + operator(
            "dispatch",
            "attention",
            {"activation": s.dispatch_activation, "output": s.dispatch_output},
            comm=True,
        )
        + operator(
            "experts",
            "dispatch",
            {
                "parameters": s.experts_parameters,
                "activation": s.experts_activation,
                "output": s.experts_output,
            },
        )
        + operator("combine", "experts", {"output": s.stage_output}, comm=True)
    )
    cluster = (
        comment(
            f"""
Eight pipeline stages of H800, each on machines of its own (64 ranks = 8 machines a stage).

- Memory: {H800_BYTES:,} B as the device reports it in DeepSeek's trace (github.com/deepseek-ai/profile-data),
  less 4 GiB for the CUDA context, communication buffers, workspace and the allocator (our assumption).
- Network: one 400 Gb/s InfiniBand port a GPU, 50 GB/s (DeepEP, docs/legacy.md); latency 10 us (ours). The
  hidden state of a microbatch, {s.stage_output:,} B, takes {s.stage_output / 50e9 * 1e3:.2f} ms.
- Rates: H100's silicon (989 TFLOPS BF16 dense, 3.35 TB/s); the graph gives times, so nothing here reads them.
"""
        )
        + f"""\
schema: planner/cluster@1
name: h800x8
device_types:
  h800: {{memory: {cap}, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, transfers: overlap}}
devices:
"""
        + "".join(f"  - {{name: gpu{d}, type: h800, node: n{d}}}\n" for d in range(8))
        + "network:\n  between_nodes: {bandwidth: 50 GB/s, latency: 10 us}\n"
    )
    return Config(name, graph, cluster)


# -- transformers by formula -------------------------------------------------------------------------------


NO_INPUT_GRADIENT = "{flops: 0}  # a pass of no length: there is nothing before it"


@dataclass(frozen=True)
class Part:
    """A part of a model: elements of its weights, FLOP outside the weights' GEMMs, bytes it leaves."""

    weights: int  # elements
    tokens: int
    attention_flops: int = 0  # of the forward pass
    more_gemm_flops: int = 0  # of each pass, where a GEMM runs over more tokens
    recomputed: bool = False  # I runs the forward pass again and makes the weights' gradients too: no W
    activation: int = 0  # bytes a microbatch
    output: int = 0  # bytes a microbatch

    def lines(self, state: float, indent: int, source: bool = False) -> str:
        """Fields of the operator. ``state``: bytes a weight holds all step long; a source does nothing in I.

        F: 2 FLOP a weight and token, and the attention. I: the same GEMMs again, and 2.5 x the attention
        (flash attention's backward, one GEMM of which repeats the forward). W: the GEMMs a third time.
        Bytes: BF16 weights and the activation, read or written once.
        """
        gemm = 2 * self.weights * self.tokens + self.more_gemm_flops
        moved = 2 * self.weights + self.activation
        pad = " " * indent
        backward = f"{{flops: {gemm + self.attention_flops * 5 // 2}, bytes: {moved}}}"
        weights = f"{{flops: {gemm}, bytes: {moved}}}"
        if self.recomputed:
            backward = f"{{flops: {3 * gemm + self.attention_flops * 7 // 2}, bytes: {3 * moved}}}"
            weights = "null  # recomputed layers make all gradients in one pass"
        work = (
            f"{pad}work:\n"
            f"{pad}  forward: {{flops: {gemm + self.attention_flops}, bytes: {moved}}}\n"
            f"{pad}  input_grad: {NO_INPUT_GRADIENT if source else backward}\n"
            f"{pad}  weight_grad: {weights}\n"
        )
        fields = size("parameters", round(self.weights * state), indent)
        fields += size("activation", self.activation, indent)
        return work + fields + size("output", self.output, indent)


def llama_attention(hidden: int, kv: int, tokens: int) -> Part:
    """Grouped-query attention with causal flash attention; ``kv``: width of keys (and of values).

    BF16 kept: input, its norm, q, k, v, attention output (4 x hidden + 2 x kv); W reads as much (norm and
    attention output as inputs, gradients of q, k, v and of the output).
    """
    return Part(
        weights=2 * hidden * hidden + 2 * hidden * kv,
        tokens=tokens,
        attention_flops=2 * tokens * tokens * hidden,  # 4 T^2 h, half of it masked
        activation=2 * tokens * (4 * hidden + 2 * kv),
        output=2 * tokens * hidden,
    )


def llama_mlp(hidden: int, width: int, tokens: int) -> Part:
    """SwiGLU. BF16 kept: input, norm, gate, up and product (2 x hidden + 3 x width); W reads as much."""
    return Part(
        weights=3 * hidden * width,
        tokens=tokens,
        activation=2 * tokens * (2 * hidden + 3 * width),
        output=2 * tokens * hidden,
    )


def together(*parts: Part) -> Part:
    """Parts that run one after the other as one operator."""
    return Part(
        weights=sum(p.weights for p in parts),
        tokens=parts[0].tokens,
        attention_flops=sum(p.attention_flops for p in parts),
        activation=sum(p.activation for p in parts),
        output=parts[-1].output,
    )


def encoder_layer(width: int, tokens: int, window: int) -> Part:
    """Layer of a vision or audio transformer: full attention within ``window`` tokens, GELU MLP of 4 x width.

    Only its input is kept, in BF16; the backward pass recomputes the rest.
    """
    return Part(
        weights=12 * width * width,
        tokens=tokens,
        attention_flops=4 * tokens * window * width,
        activation=2 * tokens * width,
        output=2 * tokens * width,
        recomputed=True,
    )


def linear(source: int, target: int, tokens: int, output: bool = True) -> Part:
    """One GEMM that keeps its input, or for W its output gradient too, in BF16."""
    return Part(
        weights=source * target,
        tokens=tokens,
        activation=2 * tokens * (source + target),
        output=2 * tokens * target if output else 0,
    )


def embedding(vocabulary: int, hidden: int, tokens: int, state: float) -> str:
    """Gather in F, no input gradient, scatter-add of FP32 gradients in W. Keeps the token ids (8 bytes)."""
    moved = 2 * tokens * hidden
    return (
        "    work:\n"
        f"      forward: {{bytes: {2 * moved}}}\n"
        f"      input_grad: {NO_INPUT_GRADIENT}\n"
        f"      weight_grad: {{bytes: {moved + 8 * tokens * hidden}}}\n"
        + size("parameters", round(vocabulary * hidden * state), 4)
        + size("activation", 8 * tokens, 4)
        + size("output", moved, 4)
    )


def mixed() -> Config:
    """Llama-3.1-8B on four H100 and four A100."""
    name = "mixed-cluster"
    hidden, kv, width, vocabulary, tokens = 4096, 1024, 14336, 128256, 6144
    state = 18
    attention, mlp = llama_attention(hidden, kv, tokens), llama_mlp(hidden, width, tokens)
    head = linear(hidden, vocabulary, tokens, output=False)
    layer_bytes = round((attention.weights + mlp.weights) * state)
    layer_act = attention.activation + mlp.activation
    small = 36 * GIB
    embed_bytes = vocabulary * hidden * state
    equal, three, two = (n * layer_bytes + embed_bytes + 8 * n * layer_act for n in (4, 3, 2))
    graph = (
        header(
            name,
            "",
            f"""
Llama-3.1-8B with embedding and head, one sequence of 6144 tokens a microbatch, on two kinds of device.

Dimensions: 32 layers, hidden 4096, 32 heads, 8 key-value heads of 128, MLP 14336, vocabulary 128256,
embedding and head not tied (Meta; github.com/Lightning-AI/litgpt litgpt/config.py has them).

- `parameters`: BF16 weights 2 + FP32 gradients 4 + FP32 master weights and Adam's two moments 12 = 18 bytes a
  weight; no data parallelism, so nothing is sharded.
- `work`: a GEMM takes 2 FLOP a weight and token, in F, in I and in W; causal flash attention 2 T^2 h in F and
  2.5 times that in I. Bytes: BF16 weights and the activation, once. The devices' rates make times of it.
- `activation`: BF16, flash attention, nothing recomputed. A token leaves input, norm, q, k, v and attention
  output (4 x 4096 + 2 x 1024 elements) in attention, input, norm, gate, up and product (2 x 4096 + 3 x 14336)
  in mlp, input and logits in the head. The inputs and output gradients that W reads come to the same bytes,
  so all of it is held until W ends (the default).

One layer has {layer_bytes:,} B of parameters and leaves {layer_act:,} B a microbatch. Where memory binds: in
1F1B's order, 8 microbatches in flight, a first A100 with the embedding and 4 layers (every device the same)
would take {equal / 1e9:.1f} GB, with 3 layers {three / 1e9:.1f} GB; it offers {small / 1e9:.1f} GB. With 2
layers, about its share by speed, it takes {two / 1e9:.1f} GB.
""",
        )
        + "schema: planner/graph@1\nname: llama-3.1-8b\nmicrobatches: 16\noperators:\n"
        + "  - name: embed\n"
        + embedding(vocabulary, hidden, tokens, state)
        + "  - block: layer\n    repeat: 32\n    inputs: [embed]\n    output: mlp\n    operators:\n"
        + "      - name: attention\n"
        + attention.lines(state, 8)
        + "      - name: mlp\n        inputs: [attention]\n"
        + mlp.lines(state, 8)
        + "  - name: head\n    inputs: [layer]\n"
        + head.lines(state, 4)
    )
    cluster = comment("""
Four A100 SXM 40 GB on one machine, four H100 SXM 80 GB on another.

- Peak BF16 (dense), memory bandwidth, NVLink per direction: NVIDIA's data sheets (H100 SXM 989 TFLOPS,
  3.35 TB/s, 450 GB/s; A100 SXM 40 GB 312 TFLOPS, 1.555 TB/s, 300 GB/s).
- efficiency: what large transformers reach of the peak, 0.4 on H100 (Llama 3, arXiv 2407.21783: 38 to 43%),
  0.5 on A100 (Megatron-LM, arXiv 2104.04473: up to 52%).
- Between the machines one 200 Gb/s port a GPU, 25 GB/s. Latencies are ours.
- Memory: 40 and 80 GiB less 4 GiB for the CUDA context, communication buffers, workspace and the allocator.
""")
    cluster += """\
schema: planner/cluster@1
name: a100x4-h100x4
device_types:
  a100-40: {memory: 36 GiB, peak_flops: 312 TFLOPS, memory_bandwidth: 1.555 TB/s, efficiency: 0.5}
  h100: {memory: 76 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 0.4}
devices:
  - {name: a, type: a100-40, count: 4, node: n0}
  - {name: h, type: h100, count: 4, node: n1}
network:
  within_node: {bandwidth: 300 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 25 GB/s, latency: 10 us}
  links:  # NVLink of the H100 machine
""" + "".join(
        f"    - {{from: h{a}, to: h{b}, bandwidth: 450 GB/s, latency: 5 us}}\n"
        for a in range(4)
        for b in range(4)
        if a != b
    )
    return Config(name, graph, cluster)


def multimodal() -> Config:
    """Vision and audio encoders of different depth, a language trunk, two heads."""
    name = "multimodal"
    hidden, kv, width, vocabulary, tokens = 3584, 512, 18944, 152064, 5120
    state = 7.5
    patches, images, frames, clips = 4096, 4, 3000, 2
    vision_tokens, audio_tokens = patches // 4, frames // 2
    vision, audio = (
        encoder_layer(1280, patches, patches // images),
        encoder_layer(1024, frames, frames // clips),
    )
    patch = linear(3 * 2 * 14 * 14, 1280, patches)
    spectrogram = Part(  # two convolutions of width 3: 80 mel bands at twice the frames, then stride 2
        weights=3 * 80 * 1024 + 3 * 1024 * 1024,
        tokens=frames,
        more_gemm_flops=2 * 3 * 80 * 1024 * frames,  # the first one runs at twice the frames
        activation=2 * frames * (2 * 80 + 2 * 1024 * 2 + 1024 * 2),
        output=2 * frames * 1024,
    )
    merger = together(linear(5120, 5120, vision_tokens), linear(5120, hidden, vision_tokens))
    projector = linear(1024, hidden, audio_tokens)
    attention, mlp = llama_attention(hidden, kv, tokens), llama_mlp(hidden, width, tokens)
    trunk = together(attention, mlp)
    text = linear(hidden, vocabulary, tokens, output=False)
    image = together(linear(hidden, hidden, vision_tokens), linear(hidden, 16384, vision_tokens, output=False))
    cap = 36 * GIB
    trunk_parameters = round(trunk.weights * state)
    naive = 11 * (trunk_parameters + 3 * trunk.activation)
    total_activation = (
        32 * vision.activation
        + 24 * audio.activation
        + 28 * trunk.activation
        + text.activation
        + image.activation
        + merger.activation
        + projector.activation
        + patch.activation
        + spectrogram.activation
    )

    def top(label: str, part: Part, reads: str = "") -> str:
        inputs = f"    inputs: [{reads}]\n" if reads else ""
        return f"  - name: {label}\n" + inputs + part.lines(state, 4, source=not reads)

    def block(label: str, repeat: int, reads: str, part: Part) -> str:
        return (
            f"  - block: {label}\n    repeat: {repeat}\n    inputs: [{reads}]\n"
            "    operators:\n      - name: layer\n" + part.lines(state, 8)
        )

    graph = (
        header(
            name,
            "",
            f"""
A multimodal model in training: a vision encoder (32 layers) and an audio encoder (24 layers) join a language
trunk (28 layers) with two heads, for text and image tokens. 91 operators; most are one layer each.

Dimensions, all public: trunk and vision encoder of Qwen2-VL-7B (hidden 3584, 4 key-value heads of 128, MLP
18944, vocabulary 152064; vision width 1280, patch 14 x 14 x 2 frames, 4 patches merged into one token); audio
encoder of Whisper medium (width 1024, 80 mel bands, 1500 frames a clip of 30 s, here pooled in pairs as in
Qwen2-Audio); image head with one hidden layer and 16384 codes (LlamaGen's codebook). The combination is ours.
A microbatch: 5120 tokens = 4 images of 1024 patches (1024 tokens) + 2 clips (1500 tokens) + 2596 of text.

- `parameters`: 2 BF16 + 4 FP32 gradient + 12 / 8 FP32 master weights and moments = 7.5 bytes a weight:
  8 data-parallel replicas of this pipeline share the optimizer state (ZeRO-1); one of them is planned.
- `work`: a GEMM takes 2 FLOP a weight and token, in F, in I and in W; flash attention 4 x tokens x window x
  width in F (half of it where causal) and 2.5 times that in I. Bytes: BF16 weights and the activation, once.
  A layer of an encoder runs forward again in I and makes its weights' gradients there as well: it has no W.
- `activation`: BF16, flash attention. A layer of an encoder keeps its input only (recomputation). A token
  leaves 6 x 3584 + 2 x 512 + 3 x 18944 elements in a trunk layer, input and logits in a head; the inputs and
  output gradients that W reads come to the same bytes, so all of it is held until W ends (the default).

Where memory binds: a trunk layer has {trunk_parameters / 1e9:.2f} GB of parameters and leaves
{trunk.activation / 1e9:.2f} GB a microbatch. Equal numbers of operators, 11 a device, would take
{naive / 1e9:.1f} GB on a device of the trunk with 3 microbatches in flight; it offers {cap / 1e9:.1f} GB. A
microbatch leaves {total_activation / 1e9:.1f} GB in the whole model: 16 at once would be
{16 * total_activation / 1e9:.0f} GB, and the 8 devices offer {8 * cap / 1e9:.0f} GB, parameters included.
""",
        )
        + "schema: planner/graph@1\nname: multimodal-9b\nmicrobatches: 16\noperators:\n"
        + top("patches", patch)
        + block("vision", 32, "patches", vision)
        + top("merger", merger, "vision")
        + top("spectrogram", spectrogram)
        + block("audio", 24, "spectrogram", audio)
        + top("projector", projector, "audio")
        + "  - name: embed\n"
        + embedding(vocabulary, hidden, tokens - vision_tokens - audio_tokens, state)
        + block("trunk", 28, "embed, merger, projector", trunk)
        + top("text_head", text, "trunk")
        + top("image_head", image, "trunk")
    )
    cluster = comment("""
Two machines of four A100 SXM 40 GB.

- 312 TFLOPS BF16 (dense), 1.555 TB/s, NVLink 300 GB/s per direction (NVIDIA's data sheet); efficiency 0.5,
  about what Megatron-LM reaches (arXiv 2104.04473: up to 52%).
- One 200 Gb/s InfiniBand port a GPU, 25 GB/s. Latencies are ours.
- Memory: 40 GiB less 4 GiB for the CUDA context, communication buffers, workspace and the allocator.
""")
    cluster += """\
schema: planner/cluster@1
name: a100x8
device_types:
  a100-40: {memory: 36 GiB, peak_flops: 312 TFLOPS, memory_bandwidth: 1.555 TB/s, efficiency: 0.5}
devices:
  - {name: a, type: a100-40, count: 4, node: n0}
  - {name: b, type: a100-40, count: 4, node: n1}
network:
  within_node: {bandwidth: 300 GB/s, latency: 5 us}
  between_nodes: {bandwidth: 25 GB/s, latency: 10 us}
"""
    return Config(name, graph, cluster)


# -- job shops ---------------------------------------------------------------------------------------------

Job = list[list[tuple[int, int]]]  # operations, each with its (machine, seconds) alternatives

# Fisher and Thompson 1963, as in github.com/tamy0612/JSPLIB (instances/ft06).
FT06: list[list[tuple[int, int]]] = [
    [(2, 1), (0, 3), (1, 6), (3, 7), (5, 3), (4, 6)],
    [(1, 8), (2, 5), (4, 10), (5, 10), (0, 10), (3, 4)],
    [(2, 5), (3, 4), (5, 8), (0, 9), (1, 1), (4, 7)],
    [(1, 5), (0, 5), (2, 5), (3, 3), (4, 8), (5, 9)],
    [(2, 9), (1, 3), (4, 5), (5, 4), (0, 3), (3, 1)],
    [(1, 3), (3, 3), (5, 9), (0, 10), (4, 4), (2, 1)],
]

# Fattahi, Saidi Mehrabad and Jolai 2007, as in github.com/SchedulingLab/fjsp-instances (MIT).
SFJS05: list[Job] = [
    [[(0, 43), (1, 36)], [(0, 64), (1, 71)]],
    [[(0, 34), (1, 53)], [(0, 36), (1, 21)]],
    [[(0, 21), (1, 35)], [(0, 43), (1, 37)]],
]
MFJS01: list[Job] = [
    [[(0, 147), (1, 123), (2, 145)], [(3, 140), (1, 130)], [(3, 150), (4, 160)]],
    [[(0, 214), (2, 150)], [(2, 87), (1, 66)], [(4, 178), (5, 95)]],
    [[(0, 87), (1, 62)], [(2, 180), (3, 105)], [(3, 190), (4, 100), (5, 153)]],
    [[(0, 87), (1, 65)], [(4, 173)], [(3, 145), (5, 136)]],
    [[(1, 123), (2, 145), (0, 128)], [(2, 86), (3, 65), (4, 47)], [(4, 110), (5, 85)]],
]


def jobshop(name: str, jobs: list[Job], machines: int, optimum: int, source: str) -> Config:
    """A (flexible) job shop: one chain a job, forward passes only, one microbatch."""
    lines = []
    for j, job in enumerate(jobs):
        for o, alternatives in enumerate(job):
            seconds = ", ".join(f"m{machine}: {duration}" for machine, duration in sorted(alternatives))
            reads = f", inputs: [job{j}_op{o - 1}]" if o else ""
            lines.append(f"  - {{name: job{j}_op{o}, time: {{forward: {{{seconds}}}}}{reads}}}\n")
    flexible = any(len(alternatives) > 1 for job in jobs for alternatives in job)
    kind = "flexible job shop" if flexible else "job shop"
    graph = (
        header(
            f"jobshop-{name}",
            "",
            f"""
The {kind} {name}: {len(jobs)} jobs on {machines} machines, {len(lines)} operations. Optimal makespan
{optimum} s. A machine is a device, an operation an operator in inference mode; a machine that `time` leaves
out cannot run it.

Source: {source}
""",
        )
        + f"schema: planner/graph@1\nname: {name}\nmode: inference\nmicrobatches: 1\noperators:\n"
        + "".join(lines)
    )
    cluster = (
        f"# The {machines} machines of {name}: no memory caps, free transfers.\n"
        "schema: planner/cluster@1\n"
        f"name: {name}-machines\n"
        "device_types:\n  machine: {}\n"
        f"devices:\n  - {{name: m, type: machine, count: {machines}}}\n"
    )
    return Config(f"jobshop-{name}", graph, cluster)


def configs() -> list[Config]:
    """Everything in configs/."""
    lab = "github.com/SchedulingLab/fjsp-instances"
    return [
        dualpipe(8, 20, optimum=63, published=66),
        dualpipe(4, 8, optimum=25, published=26),
        deepseek(),
        multimodal(),
        mixed(),
        jobshop(
            "ft06",
            [[[step] for step in job] for job in FT06],
            6,
            55,
            "Fisher and Thompson 1963; github.com/tamy0612/JSPLIB instances/ft06.",
        ),
        jobshop("sfjs05", SFJS05, 2, 119, f"Fattahi, Saidi Mehrabad and Jolai 2007; {lab} fattahi/sfjs05."),
        jobshop("mfjs01", MFJS01, 6, 468, f"Fattahi, Saidi Mehrabad and Jolai 2007; {lab} fattahi/mfjs01."),
    ]


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    check = parser.parse_args().check
    differing = []
    for config in configs():
        folder = CONFIGS / config.name
        for path, text in ((folder / "graph.yaml", config.graph), (folder / "cluster.yaml", config.cluster)):
            if check:
                if not path.is_file() or path.read_text(encoding="utf-8") != text:
                    differing.append(path)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for path in differing:
        print(f"{path} differs from what scripts/make_configs.py writes", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
