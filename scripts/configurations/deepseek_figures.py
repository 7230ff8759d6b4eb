"""DeepSeek-V3 on H800: measured times, and the bytes of its layers from public dimensions."""

from __future__ import annotations

from dataclasses import dataclass

from configurations.text import GIB

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
