"""The options of ``planner strategy``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as shared
from planner.commands.declared import OneOf
from planner.commands.executors import Dask
from planner.importers.flags import (
    Calibration,
    Family,
    HfConfigFile,
    Images,
    ImageSize,
    PrecisionOption,
    RecomputeOption,
)
from planner.importers.transformer.setting import Precision, Recompute
from planner.problem.graph import Mode
from planner.runtimes.names import ANY
from planner.runtimes.registry import RUNTIMES
from planner.strategies.request import DEGREES, RUNNABLE

DEFAULT_TOP = 5


def _runtimes() -> tuple[str, ...]:
    return tuple(name for name in RUNTIMES if name != ANY)


@dataclass(frozen=True)
class StrategyFlags:
    """Options of ``planner strategy``."""

    config: HfConfigFile
    cluster: shared.ClusterFile
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Leave the answer there, and files of the best strategies."),
    ] = None
    global_batch: Annotated[
        int | None, typer.Option(min=1, max=10**9, metavar="N", help="Sequences in a step. Training needs it.")
    ] = None
    sequence: Annotated[
        int | None, typer.Option(min=1, max=10**8, metavar="N", help="Tokens in a sequence. Training needs it.")
    ] = None
    mode: Annotated[Mode, typer.Option(help="inference: serve prompts, at the least GPU time a token.")] = Mode.TRAINING
    prompt: Annotated[
        int | None, typer.Option(min=1, max=10**8, metavar="N", help="Tokens in a prompt. Inference needs it.")
    ] = None
    output_length: Annotated[
        int | None, typer.Option(min=1, max=10**8, metavar="N", help="Tokens in an answer. Inference needs it.")
    ] = None
    max_prefill_latency: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Of inference: the first token within it.")
    ] = None
    max_token_latency: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="Of inference: from token to token, such as '30 ms'.")
    ] = None
    runtime: Annotated[
        str, typer.Option(help="The framework that has to run the plan, as it runs it."), OneOf(_runtimes)
    ] = "megatron"
    schedules: Annotated[
        str,
        typer.Option(help="runnable: plans that the runtime can run; any: every plan."),
        OneOf(lambda: (RUNNABLE, ANY)),
    ] = RUNNABLE
    precision: PrecisionOption = Precision.BF16
    recompute: RecomputeOption = Recompute.CHOOSE
    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE[,...]", help=f"Only strategies with these degrees: {', '.join(DEGREES)}."),
    ] = None
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N]|FROM:TO",
            help="Use so many GPUs; of several numbers (FROM:TO doubles) the one with the cheapest token, or with "
            "--within.  [default: all of the cluster]",
        ),
    ] = None
    within: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="The fewest GPUs whose step takes at most so long.")
    ] = None
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of a GPU, in place of the cluster's.")
    ] = None
    calibration: Calibration = None
    family: Family = None
    images: Images = None
    image_size: ImageSize = None
    top: Annotated[int, typer.Option(min=1, max=1000, metavar="K", help="How many strategies to list.")] = DEFAULT_TOP
    gap: Annotated[str, typer.Option(metavar="G", help="End where the best is proven within G of any, such as 1%.")] = (
        "0"
    )
    time_limit: Annotated[str, typer.Option(metavar="SECONDS", help="Of the whole, such as 60 or '3 min'.")] = "60"
    processes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Strategies looked at side by side.  [default: cores]")
    ] = None
    dask: Dask = None
    seed: shared.Seed = 0
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the answer there as a page; -o has one, too.")
    ] = None
    format: shared.OutputFormat = shared.Format.text
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress and no notes on stderr; the report is one line.")
    ] = False
