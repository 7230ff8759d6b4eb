"""Where a command does many pieces of work: ``--processes`` and ``--dask``."""

from __future__ import annotations

from typing import Annotated

import typer

from planner.engine import ExecutorSource, cores, dask, processes
from planner.files.flag_values import UsageFault

Dask = Annotated[
    str | None,
    typer.Option(metavar="tcp://HOST:PORT", help="Work on the Dask cluster with this scheduler instead."),
]


def check_executor(processes: int | None, dask: str | None) -> None:
    """Refuse both options together."""
    if dask is not None and processes is not None:
        raise UsageFault("--dask and --processes exclude each other: its own workers are what a Dask cluster has")


def executor_of(own: int | None, address: str | None, threads: int = 1) -> ExecutorSource:
    """The Dask cluster at the address, or ``own`` processes: by default as many as cores allow with so many threads.

    Raises ``UsageFault`` where no Dask cluster answers.
    """
    return dask(address) if address is not None else processes(own or max(1, cores() // threads))
