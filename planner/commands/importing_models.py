"""``planner import hf``, ``onnx`` and ``torch``: graphs computed from models. Names and flags; nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from planner.commands.importing import Microbatches, Name, Output, Quiet, deliver, import_app, ready_to_write

if TYPE_CHECKING:
    from planner.importers.document import Document
    from planner.importers.tensors.document import TensorFlags

__all__ = ["import_app"]


class ModelMode(StrEnum):
    """Values of ``--mode``."""

    training = "training"
    inference = "inference"


class Precision(StrEnum):
    """Values of ``--precision``."""

    bf16 = "bf16"
    fp8 = "fp8"
    fp32 = "fp32"


class Optimizer(StrEnum):
    """Values of ``--optimizer``."""

    adam = "adam"
    adam_fp32_master = "adam-fp32-master"
    adafactor = "adafactor"
    sgd = "sgd"
    none = "none"


class Recompute(StrEnum):
    """Values of ``--recompute``."""

    none = "none"
    selective = "selective"
    full = "full"


class Tied(StrEnum):
    """Values of ``--tied``."""

    copy = "copy"
    colocate = "colocate"


Mode = Annotated[ModelMode, typer.Option(help="inference: forward passes only.")]


OptimizerFlag = Annotated[Optimizer, typer.Option(help="What is kept for a weight; none: weights are not trained.")]
Level = Annotated[
    int | None,
    typer.Option(min=1, max=100, metavar="N", help="Operators are modules, N deep.  [default: heavy nodes]"),
]
Merge = Annotated[bool, typer.Option("--merge/--no-merge", help="Nodes without FLOP join their inputs' operator.")]
Dims = Annotated[
    list[str] | None, typer.Option("--dim", metavar="NAME=N", help="Size of an open dimension; repeatable.")
]


@import_app.command("hf")
def hf(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="config.json of a Hugging Face model.")],
    output: Output = None,
    name: Name = None,
    family: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Read it as this model_type, where its own is not known.")
    ] = None,
    mode: Mode = ModelMode.training,
    micro_batch: Annotated[int, typer.Option(min=1, max=10**6, metavar="N", help="Sequences in a microbatch.")] = 1,
    sequence: Annotated[
        int | None,
        typer.Option(min=1, max=10**8, metavar="N", help="Tokens in a sequence.  [default: 4096, or the model's most]"),
    ] = None,
    decoder_sequence: Annotated[
        int | None,
        typer.Option(min=1, max=10**8, metavar="N", help="Of an encoder-decoder model.  [default: as --sequence]"),
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=0, max=10**6, metavar="N", help="Images in a sequence.  [default: 1]")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=1, max=10**6, metavar="PIXELS", help="Edge of an image.  [default: the model's]")
    ] = None,
    freeze_vision: Annotated[bool, typer.Option("--freeze-vision", help="Do not train the vision tower.")] = False,
    microbatches: Microbatches = 16,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", "--tp", min=1, metavar="T", help="Ranks that share each layer.")
    ] = 1,
    sequence_parallel: Annotated[
        int, typer.Option("--sequence-parallel", "--cp", min=1, metavar="C", help="Ranks that share each sequence.")
    ] = 1,
    expert_parallel: Annotated[
        int, typer.Option("--expert-parallel", "--ep", min=1, metavar="E", help="Ranks that share the experts.")
    ] = 1,
    data_parallel: Annotated[
        int | None,
        typer.Option(
            "--data-parallel", "--dp", min=1, metavar="D", help="Replicas of the pipeline.  [default: what E needs]"
        ),
    ] = None,
    interconnect: Annotated[
        str | None, typer.Option(metavar="BANDWIDTH", help="Of a rank between those ranks, such as 50GB/s.")
    ] = None,
    tensor_interconnect: Annotated[
        str | None,
        typer.Option(metavar="BANDWIDTH", help="Between tensor and sequence ranks.  [default: --interconnect]"),
    ] = None,
    sends_per_token: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most times that dispatch sends a token.  [default: once an expert]"),
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of matrix products.")] = Precision.bf16,
    optimizer: OptimizerFlag = Optimizer.adam_fp32_master,
    zero: Annotated[
        int, typer.Option(min=0, max=3, metavar="STAGE", help="ZeRO stage over data and sequence ranks.")
    ] = 1,
    recompute: Annotated[Recompute, typer.Option(help="What backward computes again.")] = Recompute.none,
    mtp: Annotated[bool, typer.Option("--mtp/--no-mtp", help="Multi-token prediction, where the model has it.")] = True,
    tied: Annotated[Tied, typer.Option(help="A matrix that embedding and head share.")] = Tied.copy,
    quiet: Quiet = False,
) -> int:
    """The operator graph of a transformer, from its Hugging Face config.json."""
    from planner.commands.common import UsageFault, quantity
    from planner.importers.huggingface.config import Unfit
    from planner.importers.huggingface.flags import HfFlags
    from planner.importers.huggingface.importer import hf_document
    from planner.importers.transformer import setting as settings
    from planner.problem.quantities import BYTES_PER_SECOND

    def bandwidth(flag: str, text: str | None) -> float | None:
        value = None if text is None else quantity(flag, text, BYTES_PER_SECOND)
        if value == 0:
            raise UsageFault(f"{flag} must be above 0")
        return value

    setting = settings.Setting(
        micro_batch=micro_batch,
        image_pixels=image_size,
        microbatches=microbatches,
        tensor=tensor_parallel,
        context=sequence_parallel,
        expert=expert_parallel,
        sends_per_token=sends_per_token,
        precision=settings.Precision(precision.value),
        optimizer=settings.Optimizer(optimizer.value),
        zero=zero,
        recompute=settings.Recompute(recompute.value),
        training=mode is ModelMode.training,
        mtp=mtp,
        freeze_vision=freeze_vision,
        tied=settings.TiedEmbeddings(tied.value),
        interconnect=bandwidth("--interconnect", interconnect),
        tensor_interconnect=bandwidth("--tensor-interconnect", tensor_interconnect),
    )
    ready_to_write(output, config)
    flags = HfFlags(setting, sequence, decoder_sequence, data_parallel, images, family, name)
    try:
        document = hf_document(config, flags)
    except Unfit as reason:
        raise UsageFault(str(reason)) from None
    return deliver(document, output, quiet)


def _tensor_command(package: str, about: str) -> None:
    """Register an importer that reads single operations with their shapes; all of them take the same flags."""

    @import_app.command(package, help=about)
    def command(
        model: Annotated[Path, typer.Argument(metavar="MODEL", help="The model's file.")],
        output: Output = None,
        name: Name = None,
        mode: Mode = ModelMode.training,
        microbatches: Microbatches = 16,
        dim: Dims = None,
        level: Level = None,
        merge: Merge = True,
        optimizer: OptimizerFlag = Optimizer.adam_fp32_master,
        quiet: Quiet = False,
    ) -> int:
        from planner.commands.extras import need

        need(package, f"planner import {package}")
        ready_to_write(output, model)
        flags = _flags(mode, microbatches, optimizer, level, merge, name)
        return deliver(_tensor_document(package, model, flags, _dims(dim)), output, quiet)


_tensor_command("onnx", "The operator graph of an ONNX model. Needs the package onnx.")
_tensor_command(
    "torch",
    "The operator graph of a torch.export program, as torch.export.save wrote it (.pt2). Needs the package torch; "
    "load only files that you trust.",
)


def _tensor_document(package: str, model: Path, flags: TensorFlags, dims: dict[str, int]) -> Document:
    if package == "onnx":
        from planner.importers.tensors.onnx_model import onnx_document

        return onnx_document(model, flags, dims)
    from planner.importers.tensors.torch_program import torch_document

    return torch_document(model, flags, dims)


def _flags(
    mode: ModelMode, microbatches: int, optimizer: Optimizer, level: int | None, merge: bool, name: str | None
) -> TensorFlags:
    from planner.commands.common import UsageFault
    from planner.importers.tensors.document import TensorFlags
    from planner.importers.tensors.graph import Grouping
    from planner.importers.transformer.setting import Optimizer as State

    if level is not None and not merge:
        raise UsageFault("--level and --no-merge exclude each other: give one")
    return TensorFlags(mode is ModelMode.training, microbatches, State(optimizer.value), Grouping(level, merge), name)


def _dims(given: list[str] | None) -> dict[str, int]:
    """``--dim batch=8`` as a size by name."""
    from planner.commands.common import UsageFault

    sizes: dict[str, int] = {}
    for text in given or ():
        name, _, size = text.rpartition("=")
        if not name or not size.isascii() or not size.isdigit() or not 0 < int(size) <= 10**9:
            raise UsageFault(f"--dim takes NAME=N with a whole number from 1, such as batch=8 (got {text!r})")
        if name in sizes:
            raise UsageFault(f"--dim {name} is given twice")
        sizes[name] = int(size)
    return sizes
