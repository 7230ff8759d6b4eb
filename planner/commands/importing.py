"""``planner import``: the names and flags of the importers. What they do stands in ``planner.importers``.

Loaded with the command line itself, so nothing heavy is imported here before a command runs.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from planner.importers.document import Document

Output = Annotated[
    str | None, typer.Option("--output", "-o", metavar="FILE", help="Write the graph there.  [default: stdout]")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No notes on stderr.")]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the graph.  [default: the file's]")]
Microbatches = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Microbatches in one step.")]


class TimeUnit(StrEnum):
    """Values of ``--unit``."""

    s = "s"
    ms = "ms"
    us = "us"


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

import_app = typer.Typer(
    name="import",
    help="A graph.yaml from a model or a graph of another format.",
    rich_markup_mode=None,
)


@import_app.callback()
def _import() -> None:
    """A graph.yaml from a model or a graph of another format."""


def ready_to_write(output: str | None, source: Path) -> None:
    """Refuse, before any work, an output that cannot be written or is the input itself."""
    from planner.commands.common import not_an_input
    from planner.files.whole import ensure_writable

    not_an_input(output, {"input": source})
    if output not in (None, "-"):
        ensure_writable(str(output))


def deliver(document: Document, output: str | None, quiet: bool) -> int:
    """Write the graph whole, to the file or to stdout, and say on stderr what there is to say about it."""
    from planner.importers.document import to_yaml

    return deliver_text(to_yaml(document), document.notes, output, quiet)


def ready_beside(output: str | None, others: dict[str, object]) -> None:
    """Refuse, before any work, a second file that cannot be written or is one of the others."""
    from planner.commands.common import UsageFault, not_an_input
    from planner.files.whole import ensure_writable

    if output == "-":
        raise UsageFault("--cluster takes the name of a file: the graph goes to stdout")
    not_an_input(output, {what: path for what, path in others.items() if path not in (None, "-")})
    if output is not None:
        ensure_writable(output)


def deliver_text(text: str, remarks: Sequence[str], output: str | None, quiet: bool) -> int:
    """Write the text of a graph, which planner's own reader has taken, and the remarks."""
    from planner.commands.common import ExitCode, emit, note
    from planner.files.whole import write_whole
    from planner.importers.document import checked

    text = checked(text)
    for remark in remarks:
        note(remark, quiet)
    if output in (None, "-"):
        emit(text)
    else:
        write_whole(str(output), text)
        note(f"written to {output}", quiet)
    return ExitCode.DONE


@import_app.command("pipedream")
def _pipedream(
    source: Annotated[Path, typer.Argument(metavar="GRAPH.TXT", help="A profile of PipeDream's profiler.")],
    output: Output = None,
    name: Name = None,
    microbatches: Microbatches = 1,
    state: Annotated[
        float, typer.Option(min=0, max=1000, metavar="N", help="Bytes held for each byte of weights.")
    ] = 3.0,
    quiet: Quiet = False,
) -> int:
    """A profile of PipeDream (graph.txt)."""
    from planner.importers.pipedream import pipedream

    ready_to_write(output, source)
    return deliver(pipedream(source, name=name, microbatches=microbatches, state=state), output, quiet)


@import_app.command("msr")
def _msr(
    source: Annotated[Path, typer.Argument(metavar="FILE.json", help="An input of msr-fiddle/dnn-partitioning.")],
    output: Output = None,
    cluster: Annotated[str | None, typer.Option(metavar="FILE", help="Write the file's devices there.")] = None,
    name: Name = None,
    microbatches: Microbatches = 1,
    unit: Annotated[TimeUnit, typer.Option(help="Of the file's latencies and costs.")] = TimeUnit.ms,
    quiet: Quiet = False,
) -> int:
    """A placement problem of msr-fiddle/dnn-partitioning: graph and devices."""
    from planner.commands.common import note
    from planner.files.whole import write_whole
    from planner.importers.msr import msr

    ready_to_write(output, source)
    ready_beside(cluster, {"input": source, "graph": output})
    document, devices = msr(source, name=name, microbatches=microbatches, unit=unit.value)
    code = deliver(document, output, quiet)
    if cluster is not None:
        write_whole(cluster, devices)
        note(f"devices written to {cluster}", quiet)
    return code


@import_app.command("profile")
def _profile(
    source: Annotated[Path, typer.Argument(metavar="FILE.csv", help="Rows of operator,pass,device type,seconds.")],
    into: Annotated[Path, typer.Option(metavar="GRAPH", help="The graph.yaml that is to have these times.")],
    output: Output = None,
    quiet: Quiet = False,
) -> int:
    """Measured times into a graph.yaml."""
    from planner.importers.profile import profile

    ready_to_write(output, source)
    text, remarks = profile(source, into)
    return deliver_text(text, remarks, output, quiet)


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
    optimizer: Annotated[
        Optimizer, typer.Option(help="What is kept for a weight; none: weights are not trained.")
    ] = Optimizer.adam_fp32_master,
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
    from planner.importers import transformer_setting as settings
    from planner.importers.hf import HfFlags, hf_document
    from planner.importers.hf_config import Unfit
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
