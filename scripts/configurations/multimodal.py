"""A model of several encoders, a trunk and two heads."""

from __future__ import annotations

from configurations.text import GIB, Config, comment, header
from configurations.transformers import Part, embedding, encoder_layer, linear, llama_attention, llama_mlp, together

CHOICE = """
A multimodal model in training whose layers may recompute: configs/multimodal, where its dimensions, times, sizes and
cluster are derived. As it stands (base), the encoders recompute and the trunk does not.

- `recompute` (layers of the trunk, both heads): a microbatch keeps the BF16 input only, 2 x 5120 x 3584 B in a layer of
  the trunk and in the text head, 2 x 1024 x 3584 B in the image head. I runs forward again and makes the weights'
  gradients too, so that it has the FLOP and bytes of F, I and W, and there is no W.
- `store` (layers of the encoders): nothing is recomputed, I and W are two passes. A token keeps 16 x width elements in
  BF16: input, its norm, q, k, v, the attention's output, the residual, its norm, and 4 + 4 around GELU (arXiv
  2205.05198, section 4.1, without dropout and with flash attention). What W reads, inputs (1 + 1 + 1 + 4) and output
  gradients (3 + 1 + 4 + 1) of the four GEMMs, comes to the same.
"""


def multimodal(choose: bool = False) -> Config:
    """Vision and audio encoders of different depth, a language trunk, two heads; ``choose``: what each recomputes."""
    name = "multimodal-choose" if choose else "multimodal"
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

    def top(label: str, part: Part, reads: str = "", read: int = 0) -> str:
        inputs = f"    inputs: [{reads}]\n" if reads else ""
        variants = part.recompute(read, 4) if choose and read else ""
        return f"  - name: {label}\n" + inputs + part.lines(state, 4, source=not reads) + variants

    def block(label: str, repeat: int, reads: str, part: Part) -> str:
        variants = part.store(16 * part.activation, 8) if part.recomputed else part.recompute(part.output, 8)
        return (
            f"  - block: {label}\n    repeat: {repeat}\n    inputs: [{reads}]\n"
            "    operators:\n      - name: layer\n" + part.lines(state, 8) + (variants if choose else "")
        )

    whole = f"""
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
"""
    graph = (
        header(name, "", CHOICE if choose else whole)
        + f"schema: planner/graph@1\nname: {name.replace('modal', 'modal-9b')}\nmicrobatches: 16\noperators:\n"
        + top("patches", patch)
        + block("vision", 32, "patches", vision)
        + top("merger", merger, "vision")
        + top("spectrogram", spectrogram)
        + block("audio", 24, "spectrogram", audio)
        + top("projector", projector, "audio")
        + "  - name: embed\n"
        + embedding(vocabulary, hidden, tokens - vision_tokens - audio_tokens, state)
        + block("trunk", 28, "embed, merger, projector", trunk)
        + top("text_head", text, "trunk", trunk.output)
        + top("image_head", image, "trunk", 2 * hidden * vision_tokens)
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
