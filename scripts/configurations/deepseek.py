"""DeepSeek-V3's MoE layers, operator by operator, on eight H800."""

from __future__ import annotations

from configurations.deepseek_figures import DEEPSEEK_MICROSECONDS, H800_BYTES, H800_RESERVE, DeepSeekSizes
from configurations.text import Config, comment, header, size


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
