"""The constants that predictions were fitted with, and the rows on which: no error is stated on these.

At most three for each accelerator (one was needed) and two for each runtime; `scripts/fit_constants.py` fits them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Row = Mapping[str, str]


@dataclass(frozen=True)
class Fit:
    """``sustained`` of an accelerator, ``host_seconds`` and ``moved`` of a runtime, on the rows of one table."""

    table: str
    rows: str  # in words
    chosen: Callable[[Row], bool]
    runtime: str
    accelerator: str
    sustained: tuple[float, ...] = ()  # values that are tried; none: as it stands
    host_seconds: tuple[float, ...] = ()
    moved: tuple[float, ...] = ()

    @property
    def constants(self) -> str:
        """The constants in words."""
        found = [f"sustained of {self.accelerator}"] if self.sustained else []
        found += [f"host_seconds of {self.runtime}"] if self.host_seconds else []
        return ", ".join([*found, *([f"moved of {self.runtime}"] if self.moved else [])])


FITS = (
    Fit(
        "dgxc_dev",
        "llama3-8b",
        lambda row: row["model"] == "llama3-8b",
        "megatron",
        "h100",
        sustained=(0.81, 0.83, 0.85, 0.86, 0.87, 0.88, 0.89, 0.91),
    ),
    Fit(
        "llm_foundry_dev",
        "mpt-7b",
        lambda row: row["model"] == "mpt-7b",
        "fsdp",
        "a100",
        sustained=(0.8, 0.82, 0.84, 0.86, 0.88, 0.9),
        moved=(1.0, 1.5, 2.0, 2.5, 3.0),
    ),
    Fit(
        "vtrain_one_node",
        "hidden size 2048 on 4 GPUs",
        lambda row: row["hidden"] == "2048" and row["gpus"] == "4",
        "megatron-deepspeed",
        "a100",
        host_seconds=(0.0005, 0.0006, 0.0007, 0.0008, 0.0009, 0.001),
        moved=(1.0, 1.5, 2.0, 2.5),
    ),
    Fit(
        "nanotron_dev",
        "llama-1B on 8 GPUs",
        lambda row: row["model"] == "llama-1B" and row["gpus"] == "8",
        "nanotron",
        "h100",
        host_seconds=(0.0004, 0.0006, 0.0008, 0.001, 0.0012),
        moved=(3.0, 3.5, 4.0, 4.5, 5.0),
    ),
)
"""Kernels alone run faster than in a training step: ``sustained`` is the share that is left. ``docs/costs.md``."""


def fit_of(table: str, row: Row) -> Fit | None:
    """The fit that used a row; None where none did."""
    return next((fit for fit in FITS if fit.table == table and fit.chosen(row)), None)


def constants() -> str:
    """All fits, a line of a list each."""
    return "\n".join(f"  - {fit.constants}: {fit.rows} of {fit.table}" for fit in FITS)
