"""``planner calibrate``: a calibration of an accelerator from tables of measured kernels."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, not_an_input, note
from planner.files.flag_values import UsageFault, ratio
from planner.files.whole import ensure_writable, write_whole


@dataclass(frozen=True)
class CalibrateFlags:
    """Options of ``planner calibrate``."""

    kernels: Annotated[Path, typer.Argument(metavar="KERNELS.csv", help="GEMMs: gpu, dtype, m, n, k, ms.")]
    gpu: Annotated[str, typer.Option(metavar="NAME", help="The GPU in the column gpu of the tables.")]
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there instead of to stdout.")
    ] = None
    attention: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Causal attention, forward: gpu, dtype, batch, seq, heads, kv_heads, head_dim, ms."
        ),
    ] = None
    nccl: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Collectives in a node: gpu, op, dtype, num_gpus, elements, ms.")
    ] = None
    send: Annotated[Path | None, typer.Option(metavar="CSV", help="Sends in a node, in the form of vidur.")] = None
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name.  [default: the GPU's]")] = None
    units: Annotated[int, typer.Option(min=1, metavar="N", help="Multiprocessors of the GPU.")] = 132
    backward: Annotated[
        str, typer.Option(metavar="SHARE", help="Rate of attention backward as a share of that of forward.")
    ] = "0.8"
    grouped: Annotated[
        str, typer.Option(metavar="SHARE", help="Rate of a grouped GEMM as a share of that of a single one.")
    ] = "1"
    link_share: Annotated[
        str, typer.Option(metavar="SHARE", help="Bandwidth of its links as a share of that of the measured ones.")
    ] = "1"
    source: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Where the tables are from, and their licence; repeatable.")
    ] = None
    force: options.Force = False
    quiet: options.NoNotes = False


def run(flags: CalibrateFlags) -> int:
    """Fit the curves, write the file, and note the error of each curve on kernels it was not fitted to."""
    from planner.costs import tables
    from planner.costs.calibration import TooFew, calibrate
    from planner.costs.text import accelerator_text

    shares = {flag: ratio(f"--{flag}", value) for flag, value in _shares(flags).items()}
    if not all(shares.values()):
        raise UsageFault(f"--{next(flag for flag, value in shares.items() if not value)} must be above 0")
    given = {"kernels": flags.kernels, "attention": flags.attention, "nccl": flags.nccl, "send": flags.send}
    inputs = {f"table of {what}": path for what, path in given.items() if path is not None}
    not_an_input(flags.output, inputs)
    to_file = flags.output not in (None, "-")
    if to_file:
        if Path(str(flags.output)).exists() and not flags.force:
            raise UsageFault(f"{flags.output} exists already: name another file, or --force to replace it")
        ensure_writable(str(flags.output))
    try:
        made = calibrate(
            flags.name or flags.gpu,
            flags.units,
            tables.gemms(flags.kernels, flags.gpu),
            {} if flags.attention is None else tables.attentions(flags.attention, flags.gpu),
            {} if flags.nccl is None else tables.collectives(flags.nccl, flags.gpu),
            None if flags.send is None else tables.sends(flags.send),
            backward=shares["backward"],
            grouped=shares["grouped"],
            link_share=shares["link-share"],
        )
    except TooFew as error:
        raise UsageFault(f"{flags.kernels}: {error}") from error
    for name, each in made.errors.items():
        text = f"{name}: median error {each.median:.1%}, 90th percentile {each.p90:.1%} on {each.kernels} held out"
        note(text, flags.quiet)
    today = datetime.date.today().isoformat()
    text = accelerator_text(made.accelerator, made.errors, flags.source or (), today, _command(flags))
    if to_file:
        write_whole(str(flags.output), text)
        note(f"written to {flags.output}", flags.quiet)
    else:
        emit(text)
    return ExitCode.DONE


def _shares(flags: CalibrateFlags) -> dict[str, str]:
    return {"backward": flags.backward, "grouped": flags.grouped, "link-share": flags.link_share}


def _command(flags: CalibrateFlags) -> list[str]:
    """The command that makes the file again, with the names of the tables alone."""
    words = ["planner", "calibrate", flags.kernels.name, "--gpu", flags.gpu]
    for flag, path in (("--attention", flags.attention), ("--nccl", flags.nccl), ("--send", flags.send)):
        words += [] if path is None else [flag, path.name]
    words += [] if flags.name is None else ["--name", flags.name]
    words += ["--units", str(flags.units)]
    return [*words, *(word for flag, value in _shares(flags).items() for word in (f"--{flag}", value))]
