"""Options that several commands about models have, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from planner.files.shipped import model_names
from planner.importers.transformer.setting import Optimizer
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
