"""``planner import hf``: its options, converted to ``HfFlags``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from planner.costs.collectives import Network
from planner.files.flag_values import UsageFault, quantity
from planner.importers import flags as options
from planner.importers.huggingface.flags import HfFlags
from planner.importers.huggingface.importer import hf_document
from planner.importers.importer import Imported
from planner.importers.transformer.calibrated import Calibrated, accelerator_named, ranks_per_node
from planner.importers.transformer.setting import (
    Cut,
    Optimizer,
    Precision,
    Recompute,
    Setting,
    TiedEmbeddings,
    WeightGrad,
)
from planner.problem.graph import Mode
from planner.problem.quantities import BYTES_PER_SECOND

NETWORK_LATENCY = 10e-6
"""Seconds between nodes, as in the shipped clusters."""


@dataclass(frozen=True)
class HuggingFaceFlags:
    """Options of ``planner import hf``."""

    config: options.HfConfigFile
    name: options.Name = None
    family: options.Family = None
    mode: options.ModeOption = Mode.TRAINING
    micro_batch: Annotated[int, typer.Option(min=1, max=10**6, metavar="N", help="Sequences in a microbatch.")] = 1
    sequence: Annotated[
        int | None,
        typer.Option(min=1, max=10**8, metavar="N", help="Tokens in a sequence.  [default: 4096, or the model's most]"),
    ] = None
    cached_tokens: Annotated[
        int | None,
        typer.Option(
            min=1, max=10**8, metavar="N", help="With --mode inference: a decode step of one token after so many."
        ),
    ] = None
    decoder_sequence: Annotated[
        int | None,
        typer.Option(min=1, max=10**8, metavar="N", help="Of an encoder-decoder model.  [default: as --sequence]"),
    ] = None
    images: options.Images = None
    image_size: options.ImageSize = None
    freeze_vision: Annotated[bool, typer.Option("--freeze-vision", help="Do not train the vision tower.")] = False
    microbatches: options.Microbatches = 16
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", "--tp", min=1, metavar="T", help="Ranks that share each layer.")
    ] = 1
    sequence_parallel: Annotated[
        int, typer.Option("--sequence-parallel", "--cp", min=1, metavar="C", help="Ranks that share each sequence.")
    ] = 1
    expert_parallel: Annotated[
        int, typer.Option("--expert-parallel", "--ep", min=1, metavar="E", help="Ranks that share the experts.")
    ] = 1
    data_parallel: Annotated[
        int | None,
        typer.Option(
            "--data-parallel", "--dp", min=1, metavar="D", help="Replicas of the pipeline.  [default: what E needs]"
        ),
    ] = None
    pipeline_parallel: Annotated[
        int | None,
        typer.Option(
            "--pipeline-parallel",
            "--pp",
            min=1,
            metavar="P",
            help="Stages that it is meant for; a cluster with fewer devices is refused.  [default: any number]",
        ),
    ] = None
    cut: Annotated[
        Cut, typer.Option(help="Where stages may end: anywhere, between attention and feed-forward part, or layers.")
    ] = Cut.PART
    interconnect: Annotated[
        str | None, typer.Option(metavar="BANDWIDTH", help="Of a rank between those ranks, such as 50GB/s.")
    ] = None
    tensor_interconnect: Annotated[
        str | None,
        typer.Option(metavar="BANDWIDTH", help="Between tensor and sequence ranks.  [default: --interconnect]"),
    ] = None
    data_interconnect: Annotated[
        str | None,
        typer.Option(metavar="BANDWIDTH", help="Between ranks with the same weights.  [default: --interconnect]"),
    ] = None
    calibration: options.Calibration = None
    gpus_per_node: Annotated[
        int, typer.Option(min=1, max=10**6, metavar="N", help="With --calibration: GPUs of a node.")
    ] = 8
    sends_per_token: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most times that dispatch sends a token.  [default: once an expert]"),
    ] = None
    precision: options.PrecisionOption = Precision.BF16
    optimizer: options.OptimizerOption = Optimizer.ADAM_FP32_MASTER
    zero: Annotated[
        int, typer.Option(min=0, max=3, metavar="STAGE", help="ZeRO stage over data and sequence ranks.")
    ] = 1
    whole_step: Annotated[
        bool,
        typer.Option(
            "--whole-step/--no-whole-step", help="Reduction of gradients, optimizer, gathering of weights, too."
        ),
    ] = True
    clip_gradients: Annotated[
        bool,
        typer.Option("--clip-gradients/--no-clip-gradients", help="No update before all gradients are reduced."),
    ] = True
    recompute: options.RecomputeOption = Recompute.NONE
    weight_grad: Annotated[
        WeightGrad,
        typer.Option(help="Where it is a pass of its own; fitting: also with selective, where it costs no memory."),
    ] = WeightGrad.STORED
    mtp: Annotated[bool, typer.Option("--mtp/--no-mtp", help="Multi-token prediction, where the model has it.")] = True
    tied: Annotated[TiedEmbeddings, typer.Option(help="A matrix that embedding and head share.")] = TiedEmbeddings.COPY

    def checked(self) -> HfFlags:
        """The options as the reader takes them; None where the default depends on the model."""
        setting = Setting(
            micro_batch=self.micro_batch,
            image_pixels=self.image_size,
            microbatches=self.microbatches,
            tensor=self.tensor_parallel,
            context=self.sequence_parallel,
            expert=self.expert_parallel,
            sends_per_token=self.sends_per_token,
            precision=self.precision,
            optimizer=self.optimizer,
            zero=self.zero,
            recompute=self.recompute,
            weight_grad=self.weight_grad,
            training=self.mode is Mode.TRAINING,
            cached=self.cached_tokens,
            mtp=self.mtp,
            freeze_vision=self.freeze_vision,
            tied=self.tied,
            cut=self.cut,
            pipeline=self.pipeline_parallel,
            interconnect=_bandwidth("--interconnect", self.interconnect),
            tensor_interconnect=_bandwidth("--tensor-interconnect", self.tensor_interconnect),
            data_interconnect=_bandwidth("--data-interconnect", self.data_interconnect),
            whole_step=self.whole_step,
            clip_gradients=self.clip_gradients,
        )
        setting = replace(setting, pricing=self._pricing(setting))
        return HfFlags(
            setting,
            self.sequence,
            self.decoder_sequence,
            self.data_parallel,
            self.images,
            self.family,
            self.name,
            self.calibration,
            self.gpus_per_node,
        )

    def _pricing(self, setting: Setting) -> Calibrated | None:
        """Calibrated times, where they are asked for."""
        if self.calibration is None:
            return None
        try:
            found = accelerator_named(self.calibration)
        except ValueError as error:
            raise UsageFault(f"--calibration: {error}") from error
        between = setting.data_interconnect or setting.interconnect
        network = None if between is None else Network(between, NETWORK_LATENCY)
        per_node = ranks_per_node(setting.tensor, setting.context, self.gpus_per_node)
        return Calibrated(found, network, per_node, setting.precision)


class HuggingFace:
    """The importer."""

    name = "hf"
    help = "The operator graph of a transformer, from its Hugging Face config.json."
    flags = HuggingFaceFlags

    def read(self, flags: HuggingFaceFlags) -> Imported:
        """The graph of the model."""
        return Imported.of(hf_document(flags.config, flags.checked()))


def _bandwidth(flag: str, text: str | None) -> float | None:
    value = None if text is None else quantity(flag, text, BYTES_PER_SECOND)
    if value == 0:
        raise UsageFault(f"{flag} must be above 0")
    return value
