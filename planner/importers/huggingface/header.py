"""The comment on top of an imported transformer: its source, the assumptions, the totals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from planner.importers.document import BlockDraft, EntryDraft, OperatorDraft, rounded
from planner.importers.transformer.calibrated import Calibrated
from planner.importers.transformer.model import Model
from planner.importers.transformer.setting import (
    Cut,
    Precision,
    Recompute,
    Setting,
    TiedEmbeddings,
    WeightBytes,
    WeightGrad,
    weight_bytes,
)
from planner.importers.transformer.step import touched_bytes
from planner.importers.transformer.totals import Totals

if TYPE_CHECKING:
    from planner.importers.huggingface.flags import HfFlags


def header(source: str, model: Model, setting: Setting, figures: Totals, flags: HfFlags) -> str:
    """The whole comment."""
    lines = [
        f"A {model.family} model in {'training' if setting.training else 'inference'}, from {source}.",
        "",
        *_items(_summary(model, setting, figures)),
        "",
        "Formulas and their sources: docs/import.md of planner. Assumed:",
        *_items(_assumptions(model, setting)),
        "",
        "Not counted: " + "; ".join(_left_out(model, setting)) + ".",
        "",
        "made by: planner import hf " + " ".join([source, *_flags(model, setting, flags)]),
    ]
    return "\n".join(lines)


def remarks(model: Model, setting: Setting, figures: Totals, entries: Sequence[EntryDraft]) -> Iterator[str]:
    """What the command prints on stderr."""
    operators = list(unrolled(entries))
    parameters = sum(each.parameters for each in operators)
    activation = sum(each.activation for each in operators)
    yield f"{_weights(figures)}; {_flops(setting, figures)}"
    yield (
        f"{len(operators)} operators on one rank of a stage: {rounded(parameters, 'B')} of parameters, "
        f"{rounded(activation, 'B')} of activations a microbatch in the whole model"
    )
    if unknown := _without_bandwidth(setting) if setting.training else None:
        yield f"not counted: {unknown}"


def unrolled(entries: Sequence[EntryDraft]) -> Iterator[OperatorDraft]:
    """Every operator; those of a block once for each repetition."""
    for entry in entries:
        if isinstance(entry, BlockDraft):
            for _ in range(entry.repeat):
                yield from unrolled(entry.operators)
        else:
            yield entry


def _items(items: Iterator[str]) -> Iterator[str]:
    return (f"- {item}" for item in items)


def _weights(figures: Totals) -> str:
    text = f"{_count(figures.weights)} weights"
    if figures.active < figures.weights:
        text += f", {_count(figures.active)} of them met by a token"
    if figures.mtp_weights:
        text += f", {_count(figures.mtp_weights)} more in multi-token prediction"
    return text


def _count(weights: float) -> str:
    return f"{weights / 1e9:.4g} B" if weights >= 1e9 else f"{weights / 1e6:.4g} M"


def _flops(setting: Setting, figures: Totals) -> str:
    forward = f"{rounded(figures.forward_flops, 'FLOP')} a token forward"
    return forward + (f", {rounded(figures.training_flops, 'FLOP')} in training" if setting.training else "")


def _summary(model: Model, setting: Setting, figures: Totals) -> Iterator[str]:
    yield f"Model: {_weights(figures)}. {_flops(setting, figures)} (products of matrices and attention, each once)."
    per = f"{setting.micro_batch} sequence{'s' * (setting.micro_batch > 1)} of {setting.tokens} tokens"
    if setting.decodes:
        per = f"one new token of {setting.micro_batch} sequence{'s' * (setting.micro_batch > 1)}"
        per += f", each after {setting.cached} cached tokens"
    if model.encoder is not None:
        per += f" in the encoder, {setting.decoder_tokens} in the decoder"
    if model.vision is not None:
        per += f", with {setting.images} image{'s' * (setting.images != 1)} in each"
    yield f"A microbatch on one rank: {per}{f', of which it has 1/{setting.context}' if setting.context > 1 else ''}."
    ranks = setting.tensor * setting.context * setting.data
    if ranks == 1:
        yield "A device stands for a pipeline stage: no tensor, sequence or data parallel ranks beside it."
        return
    yield (
        f"A device stands for one of {ranks} ranks of a pipeline stage: "
        f"tensor {setting.tensor} x sequence {setting.context} x data {setting.data}"
        + (f", experts spread over {setting.expert} of them" if setting.expert > 1 else "")
        + ". They run in lockstep, so that one of them is planned."
    )


def _assumptions(model: Model, setting: Setting) -> Iterator[str]:
    yield _parameters(setting)
    yield _precision(setting)
    if setting.training:
        yield _activation(setting)
    elif setting.decodes:
        yield "activation: the output."
        yield (
            f"caches: parameters hold those of all {setting.microbatches} microbatches, since they stay from one token "
            "to the next; a window limits them."
        )
        yield "experts: the weights of those that some token is expected to choose are read, once a microbatch."
    else:
        yield "activation: the output, and keys and values of the microbatch's tokens (one pass over the prompt)."
    yield (
        "work: 2 FLOP a weight and token in each pass; attention 2 x keys x (key + value width) a head forward, 2.5 "
        "times that in input_grad (flash attention); causal attention meets half of the keys. Bytes: weights, inputs "
        "and outputs of every part once."
    )
    if isinstance(setting.pricing, Calibrated):
        yield (
            f"times: those of kernels and collectives on {setting.pricing.accelerator.name}, by measured curves "
            "(docs/costs.md); they do not depend on the cluster file."
        )
    elif setting.interconnect is not None:
        yield _collectives(setting)
    yield _cut(setting)
    if setting.steps:
        yield _step(setting)
    if setting.gathers and setting.dense_replicas > 1:
        yield (
            "ZeRO 3: each operator's weights are gathered before its forward and its backward pass, in a ring; they "
            "are not counted as memory."
        )
    if model.head.tied:
        yield (
            "The head shares the embedding's matrix: "
            + (
                "both on one device (--tied colocate)."
                if setting.tied is TiedEmbeddings.COLOCATE
                else "each holds a copy, as in pipelines usual; --tied colocate puts both on one device."
            )
        )


def _cut(setting: Setting) -> str:
    match setting.cut:
        case Cut.OPERATOR:
            where = "stages may end after any operator (--cut operator), though frameworks cut between layers"
        case Cut.PART:
            where = (
                "stages may end between attention with its collectives and the feed-forward part, from router to "
                "combine with experts (--cut part)"
            )
        case Cut.LAYER:
            where = "stages end between layers (--cut layer)"
    partial = "; where a sum over tensor ranks is still to come, the whole partial sum travels"
    return where + (partial if setting.tensor > 1 and setting.cut is Cut.OPERATOR else "") + "."


def _parameters(setting: Setting) -> str:
    if not setting.training:
        e = setting.elements
        return f"parameters: {e.weight} bytes a weight of matrix products, {e.vector} of embedding, head and norms."
    raw, other = weight_bytes(setting, True), weight_bytes(setting, False)
    text = f"parameters: {_sum(raw)} a weight ({setting.optimizer.value})"
    if raw != other:
        text += f", {_sum(other)} of embedding, head, norms and router"
    if setting.zero and max(setting.dense_replicas, setting.expert_replicas) > 1:
        what = ["the state", "state and gradients", "state, gradients and weights"][setting.zero - 1]
        text += f"; ZeRO {setting.zero} splits {what} over {setting.dense_replicas} ranks"
        text += f", of routed experts over {setting.expert_replicas}" if setting.expert > 1 else ""
    return text + "."


def _sum(each: WeightBytes) -> str:
    parts = f"{each.weight:g} weight + {each.gradient:g} gradient + {each.state:g} optimizer state bytes"
    return parts + (" + 4 a row and column" if each.factored else "")


def _precision(setting: Setting) -> str:
    match setting.precision:
        case Precision.FP8:
            return (
                "FP8: matrix products read FP8 and keep their inputs in it; the rest is BF16. Their FLOP are counted "
                "half, since clusters state the BF16 rate and FP8 runs at twice that."
            )
        case Precision.FP32:
            return "FP32: FLOP are counted twice, since clusters state the BF16 rate and TF32 runs at half of it."
        case _:
            return "BF16, flash attention, no dropout."


def _activation(setting: Setting) -> str:
    if setting.recompute is Recompute.CHOOSE:
        return (
            "activation: the inputs of all parts"
            + (", or what weight_grad needs where that is more" if setting.weight_grad is not WeightGrad.NEVER else "")
            + ". Variants: selective makes outputs of norms and activation functions (and MLA's up-projections) again "
            "in input_grad, full keeps the operator's input only and runs all of forward again; "
            + (
                "where weight_grad would hold more than selective keeps, and in full, input_grad makes the weights' "
                "gradients too."
                if setting.weight_grad is WeightGrad.FITTING
                else "input_grad makes the weights' gradients too."
            )
        )
    match setting.recompute:
        case Recompute.FULL:
            return (
                "activation: every operator keeps its input only and runs forward again in input_grad, which makes the "
                "weights' gradients too (no weight_grad). What one operator computes again is not counted as memory."
            )
        case Recompute.SELECTIVE:
            return (
                "activation: inputs of the parts, less outputs of norms and activation functions (and MLA's "
                "up-projections), which input_grad makes again; it makes the weights' gradients too (no weight_grad"
                + (", but where that holds no more" if setting.weight_grad is WeightGrad.FITTING else "")
                + ")."
            )
        case _ if setting.weight_grad is WeightGrad.NEVER:
            return "activation: the inputs of all parts. input_grad makes the weights' gradients too (no weight_grad)."
        case _:
            return (
                "activation: the inputs of all parts, or what weight_grad needs (inputs and output gradients of matrix "
                "products, held_for_weight_grad) where that is more."
            )


def _collectives(setting: Setting) -> str:
    assert setting.interconnect is not None
    text = f"Collectives take bytes / {rounded(setting.interconnect, 'B/s')}"
    if setting.tensor_interconnect is not None:
        text += f" ({rounded(setting.tensor_interconnect, 'B/s')} between tensor and sequence ranks)"
    if setting.expert > 1:
        sends = f"at most {setting.sends_per_token} sends" if setting.sends_per_token else "one send an expert"
        text += f"; all-to-all with balanced experts, {sends} a token"
    return text + "; no latency, no waiting for slower ranks."


def _step(setting: Setting) -> str:
    text = (
        f"Once a step: the optimizer reads and writes {touched_bytes(setting):g} bytes a weight of matrix products "
        "(gradient, state, weight)"
    )
    ranks = setting.dense_replicas
    experts = f" (of routed experts {{}}{setting.expert_replicas})" if setting.expert > 1 else ""
    if setting.zero and ranks > 1:
        text += f", 1/{ranks} of them on each rank" + experts.format("1/")
    if ranks > 1 and setting.between_replicas is not None:
        text += "; rings reduce the gradients" + (" and gather the weights" if setting.zero in (1, 2) else "")
        text += f" over {ranks} ranks" + experts.format("")
        text += f" at {rounded(setting.between_replicas, 'B/s')}"
    return text + (". No update before all reductions (clip_gradients)." if setting.clip_gradients else ".")


def _without_bandwidth(setting: Setting) -> str | None:
    """What the ranks with the same weights exchange, where no bandwidth says how long it takes."""
    if not setting.whole_step or setting.dense_replicas == 1 or setting.between_replicas is not None:
        return None
    what = ["the reduction of gradients"] * setting.steps
    what += ["gathering the weights" + " for each pass" * (setting.zero == 3)] * (
        setting.zero == 3 or (setting.steps and setting.zero > 0)
    )
    ranks = f"over {setting.dense_replicas} ranks with the same weights"
    return f"{' and '.join(what)} {ranks} (it needs --interconnect)" if what else None


def _left_out(model: Model, setting: Setting) -> Iterator[str]:
    if setting.training and not setting.whole_step:
        if setting.data > 1:
            yield "the reduction of gradients over data-parallel ranks, once a step"
        if setting.zero == 3:
            yield "gathering the weights for each pass (ZeRO 3)"
        yield "the optimizer's step"
    elif setting.training and (unknown := _without_bandwidth(setting)):
        yield unknown
    shared = model.head.tied or model.encoder is not None
    if setting.steps and shared and setting.tied is TiedEmbeddings.COPY:
        yield "adding up the gradients of the copies of the shared matrix"
    if setting.tensor > 1:
        yield "collectives of embedding and loss"
    if model.family == "gpt_neox":
        yield "that attention and MLP could run side by side (planned one after the other)"
    yield "temporary buffers, fragmentation and the runtime's own memory (leave a few GiB in the cluster's memory)"


def _flags(model: Model, setting: Setting, flags: HfFlags) -> Iterator[str]:
    """The flags that reproduce this graph."""
    yield from (f"--family {flags.family}",) if flags.family else ()
    yield from () if setting.training else ("--mode inference",)
    length = f"--cached-tokens {setting.cached}" if setting.decodes else f"--sequence {setting.tokens}"
    yield f"--micro-batch {setting.micro_batch} {length}"
    if model.encoder is not None:
        yield f"--decoder-sequence {setting.decoder_tokens}"
    if model.vision is not None:
        yield f"--images {setting.images}"
        yield from (f"--image-size {setting.image_pixels}",) if setting.image_pixels else ()
        yield from ("--freeze-vision",) if setting.freeze_vision else ()
    yield f"--microbatches {setting.microbatches}"
    degrees = (
        ("tensor", setting.tensor),
        ("sequence", setting.context),
        ("expert", setting.expert),
        ("data", setting.data),
        ("pipeline", setting.pipeline or 1),
    )
    yield from (f"--{name}-parallel {degree}" for name, degree in degrees if degree > 1)
    if setting.interconnect is not None:
        yield f"--interconnect {setting.interconnect / 1e9:.12g}GB/s"
    if setting.tensor_interconnect is not None:
        yield f"--tensor-interconnect {setting.tensor_interconnect / 1e9:.12g}GB/s"
    if setting.data_interconnect is not None:
        yield f"--data-interconnect {setting.data_interconnect / 1e9:.12g}GB/s"
    if flags.calibration is not None:
        yield f"--calibration {flags.calibration}"
        yield from () if flags.gpus_per_node == 8 else (f"--gpus-per-node {flags.gpus_per_node}",)
    if setting.sends_per_token is not None:
        yield f"--sends-per-token {setting.sends_per_token}"
    yield f"--precision {setting.precision.value}"
    if setting.training:
        yield f"--optimizer {setting.optimizer.value} --zero {setting.zero} --recompute {setting.recompute.value}"
        if setting.weight_grad is not WeightGrad.STORED:
            yield f"--weight-grad {setting.weight_grad.value}"
        yield from () if setting.whole_step else ("--no-whole-step",)
        yield from () if setting.clip_gradients else ("--no-clip-gradients",)
        yield from ("--no-mtp",) if model.mtp and not setting.mtp else ()
    yield from () if setting.cut is Cut.PART else (f"--cut {setting.cut.value}",)
    yield from ("--tied colocate",) if setting.tied is TiedEmbeddings.COLOCATE else ()
