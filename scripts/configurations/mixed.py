"""A dense transformer on two kinds of device."""

from __future__ import annotations

from configurations.text import GIB, Config, comment, header
from configurations.transformers import embedding, linear, llama_attention, llama_mlp


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
