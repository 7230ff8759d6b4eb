"""Values handed to the functions of ``planner.api``. What does not suit raises ``ValueError`` with its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from planner.baselines import BASELINES
from planner.files.errors import shown
from planner.files.flag_values import UsageFault
from planner.problem.quantities import FRACTION, SECONDS, Dimension, QuantityError, parse_quantity
from planner.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from planner.engine import ExecutorSource


def amount(name: str, value: float | str, dimension: Dimension) -> float:
    """An amount in base units."""
    try:
        return parse_quantity(value, dimension)
    except QuantityError as error:
        raise ValueError(f"{name} {error}") from error


def positive(name: str, value: float | str) -> float:
    """Seconds above 0."""
    seconds = amount(name, value, SECONDS)
    if seconds <= 0:
        raise ValueError(f"{name} must be above 0")
    return seconds


def fraction(name: str, value: float | str) -> float:
    """A share from 0 to 1."""
    ratio = amount(name, value, FRACTION)
    if ratio > 1:
        raise ValueError(f"{name} must be a fraction from 0 to 1")
    return ratio


def at_least(name: str, value: int | None, least: int) -> None:
    """Refuse a number below ``least``; None passes."""
    if value is not None and value < least:
        raise ValueError(f"{name} must be at least {least}")


def executor_of(executor: Executor | None, processes: int, dask: str | None) -> ExecutorSource:
    """Where work runs. Raises ``ValueError`` where no Dask scheduler answers."""
    from planner import engine

    if executor is not None:
        return engine.handed(executor)
    if dask is None:
        return engine.processes(processes)
    try:
        return engine.dask(dask)
    except UsageFault as error:
        raise ValueError(str(error)) from error


def known_runtime(name: str) -> None:
    """Refuse a runtime that there is none of."""
    if name not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}; got {shown(name)}")


def known_baseline(name: str) -> None:
    """Refuse a baseline that there is none of."""
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {shown(name)}; known are {', '.join(BASELINES)}")


def degrees(fix: Mapping[str, int | Sequence[int]] | None) -> dict[str, tuple[int, ...]]:
    """The values that degrees may have, by name."""
    return {name: (each,) if isinstance(each, int) else tuple(each) for name, each in (fix or {}).items()}
