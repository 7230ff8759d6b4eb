"""Predicted beside measured: every row of a table, and what is drawn from it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pool

from measured_steps.metrics import Pairs, fitted_efficiency
from measured_steps.steps import Step, cluster_of, model_of, one_line
from planner.prediction.outcome import Prediction
from planner.prediction.table import predictions

LEAST_STRATEGIES = 8
"""A group with fewer is no choice."""


@dataclass(frozen=True)
class Compared:
    """A row, its prediction, and the seconds of the one-line model at full efficiency."""

    step: Step
    prediction: Prediction
    line: float

    @property
    def counts(self) -> bool:
        """Whether it is compared: measured, not left out, predicted."""
        return not self.step.left_out and self.prediction.seconds is not None

    @property
    def times(self) -> tuple[float, float]:
        """(predicted, measured) seconds of a row that counts."""
        assert self.prediction.seconds is not None and self.step.seconds is not None
        return self.prediction.seconds, self.step.seconds

    @property
    def lines(self) -> tuple[float, float]:
        """The same of the one-line model at full efficiency."""
        assert self.step.seconds is not None
        return self.line, self.step.seconds


def compare(steps: Sequence[Step], jobs: int, progress: Callable[[int], object] = lambda done: None) -> list[Compared]:
    """Predict all rows, those of one model and cluster together, on so many processes."""
    together: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, step in enumerate(steps):
        together[step.model_key + step.cluster_key].append(i)
    groups = list(together.values())
    found: dict[int, Compared] = {}
    work = [[steps[i] for i in group] for group in groups]
    for group, results in zip(groups, _run(work, jobs), strict=True):
        found |= dict(zip(group, results, strict=True))
        progress(len(found))
    return [found[i] for i in range(len(steps))]


def _run(work: list[list[Step]], jobs: int) -> Iterator[list[Compared]]:
    if jobs == 1:
        yield from map(_predicted, work)
        return
    with Pool(jobs) as pool:
        yield from pool.imap(_predicted, work)


def _predicted(steps: list[Step]) -> list[Compared]:
    model, cluster = model_of(steps[0]), cluster_of(steps[0])
    rows = [step.strategy for step in steps]
    every = zip(steps, predictions(model, cluster, rows), strict=True)
    return [Compared(step, prediction, one_line(step, cluster)) for step, prediction in every]


def efficiency(rows: Sequence[Compared]) -> float:
    """The constant of the one-line model that leaves it no bias on these rows."""
    return fitted_efficiency([row.lines for row in rows])


def choices(rows: Sequence[Compared]) -> list[list[Compared]]:
    """The rows that count by group, groups of several strategies only; those that we say do not fit come last."""
    groups: dict[tuple[str, ...], list[Compared]] = defaultdict(list)
    for row in rows:
        if row.counts:
            groups[row.step.group].append(row)
    return [group for group in groups.values() if len(group) >= LEAST_STRATEGIES]


def picked(group: Sequence[Compared]) -> Pairs:
    """(predicted, measured) for the order in which we would pick: what does not fit comes after all that does."""
    late = 1 + max(row.times[0] for row in group)
    return [(row.times[0] + (late if row.prediction.fits is False else 0.0), row.times[1]) for row in group]


def memory(rows: Sequence[Compared]) -> Pairs:
    """(predicted, measured) bytes of the rows that state them."""
    return [(row.prediction.bytes, row.step.size) for row in rows if row.prediction.bytes and row.step.size]


def number_of(name: str, row: Compared) -> str:
    """The value of a column, as a table shows it; ``microbatches`` and ``nodes`` are computed."""
    n = row.step.number
    if name == "microbatches":
        return str(n("gbs") // (n("mbs") * n("dp")))
    if name == "nodes":
        return str(-(-n("gpus") // n("gpus_per_node", 8)))
    return row.step.precision if name == "precision" else (row.step.row.get(name) or "")


def by_value(name: str, rows: Sequence[Compared], most: int = 8) -> list[tuple[str, list[Compared]]]:
    """The rows by the value of a column; many numbers go by powers of two (``16-31``)."""
    found: dict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        found[number_of(name, row)].append(row)
    if len(found) > most and all(value.isdigit() and int(value) for value in found):
        found = _wide(found)
    return sorted(found.items(), key=_by_number)


def _wide(found: Mapping[str, list[Compared]]) -> dict[str, list[Compared]]:
    """The same rows by the power of two below; a value that is alone there keeps its name."""
    wide: dict[int, dict[str, list[Compared]]] = defaultdict(dict)
    for value, some in found.items():
        wide[1 << (int(value).bit_length() - 1)][value] = some
    return {
        f"{low}-{2 * low - 1}" if len(values) > 1 else next(iter(values)): [
            row for some in values.values() for row in some
        ]
        for low, values in wide.items()
    }


def _by_number(item: tuple[str, list[Compared]]) -> tuple[float, str]:
    first = item[0].split("-")[0]
    return (float(first) if first.isdigit() else -1.0), item[0]
