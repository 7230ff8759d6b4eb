"""Options that several commands about models have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.files.shipped import model_names
from planner.importers.transformer.setting import Optimizer, Precision, Recompute
from planner.problem.graph import Mode

HfConfigFile = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG",
        help="config.json of a Hugging Face model, or a shipped one, such as llama-3.1-70b.",
        autocompletion=model_names,
    ),
]
Calibration = Annotated[
    str | None,
    typer.Option(metavar="NAME|FILE", help="Measured curves of kernels: a shipped one, or of planner calibrate."),
]
Name = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the graph.  [default: the file's]")]
Microbatches = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="Microbatches in one step.")]
ModeOption = Annotated[Mode, typer.Option(help="inference: forward passes only.")]
OptimizerOption = Annotated[Optimizer, typer.Option(help="Which state each weight has; none: weights are not trained.")]
Family = Annotated[
    str | None, typer.Option(metavar="TYPE", help="Read the model as this model_type, where its own is not known.")
]
PrecisionOption = Annotated[Precision, typer.Option(help="Of matrix products.")]
RecomputeOption = Annotated[Recompute, typer.Option(help="What backward computes again; choose: the plan decides.")]
Images = Annotated[int | None, typer.Option(min=0, max=10**6, metavar="N", help="Images in a sequence.  [default: 1]")]
ImageSize = Annotated[
    int | None, typer.Option(min=1, max=10**6, metavar="PIXELS", help="Edge of an image.  [default: the model's]")
]
