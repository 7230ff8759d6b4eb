"""Tasks and transfers in the compact form of ``plan.json``: class by class, what repeats only once.

A class is one pass of one operator and copy on one device, or one transfer of it: its items differ in microbatch and
start alone. Its steady state is a progression of starts, which stands in the file once; warm-up and drain stand beside
it, start by start. Reading gives every row back, to the last bit, in the order in which plans have them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from planner.plan.progressions import Floats, Integers, apart, duration, in_progression, moved, split
from planner.plan.rows import PlannedTask, PlannedTransfer
from planner.problem.graph import PASS_ORDER, Stream

TASK_KEYS = ("operator", "pass", "copy", "device", "stream")
TRANSFER_KEYS = ("operator", "pass", "copy", "from", "to")
"""What the items of a class have in common."""

Name = tuple[str, str, int, str, str]
"""What these keys say of one class."""

MOST_ROWS = 5_000_000
"""That a file may stand for: a plan that lists as many takes some 700 MB."""

SAME = 1e-12
"""Of the last end: durations that differ by more are of two classes."""

ItemT = TypeVar("ItemT", PlannedTask, PlannedTransfer)

_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


class Misfit(ValueError):
    """Classes that stand for no rows: the steps to the wrong value, and what is wrong with it."""

    def __init__(self, steps: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.steps = tuple(steps)


class Names:
    """The order that devices and operators have in a plan, for the order of its rows."""

    def __init__(self, devices: Iterable[str], operators: Iterable[str]) -> None:
        self.devices = {name: k for k, name in enumerate(dict.fromkeys(devices))}
        self.operators = {name: k for k, name in enumerate(dict.fromkeys(operators))}

    def places(self, classes: Sequence[Name], keys: Sequence[str]) -> list[Integers]:
        """The places of operator, pass, copy, device and stream (or the two devices) of each class."""
        known = (self.operators, _PASSES, None, self.devices, _STREAMS if "stream" in keys else self.devices)
        columns = ([name[k] for name in classes] for k in range(len(known)))
        return [_places(column, of) for column, of in zip(columns, known, strict=True)]


_STREAMS = {Stream.COMPUTE.value: -2, Stream.COMM.value: -1}
_PASSES = {p.value: k for k, p in enumerate(PASS_ORDER)}


def _places(listed: Sequence[Any], known: Mapping[str, int] | None) -> Integers:
    """The place of each name; unknown ones come last, by name. Without names the numbers themselves."""
    if known is None:
        return np.array(listed, dtype=np.int64)
    more = {name: len(known) + k for k, name in enumerate(sorted(set(listed) - set(known)))}
    return np.array([known[name] if name in known else more[name] for name in listed], dtype=np.int64)


# -- writing --------------------------------------------------------------------------------------------------


def class_texts(
    rows: Sequence[PlannedTask] | Sequence[PlannedTransfer], keys: Sequence[str], names: Names
) -> list[str]:
    """The classes of the rows as JSON, one text each, in the order of their operators, passes, copies and devices.

    Raises ``ValueError`` where a start or end is not finite.
    """
    positions: dict[Name, list[int]] = defaultdict(list)
    for position, name in enumerate(map(itemgetter(0, 1, 3, 4, 5), rows)):
        positions[name].append(position)
    microbatch = np.array([row.microbatch for row in rows], dtype=np.int64)
    start, end = np.array([row.start for row in rows], dtype=float), np.array([row.end for row in rows], dtype=float)
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise ValueError("a start or an end is no instant that JSON could hold")
    slack = SAME * float(np.abs(end).max(initial=0.0))
    found = list(positions)
    texts = []
    with np.errstate(over="ignore", invalid="ignore"):  # absurd instants are no progression
        for k in np.lexsort(names.places(found, keys)[::-1]).tolist():
            of = np.array(positions[found[k]])
            shared = dict(zip(keys, found[k], strict=True))
            for like in _of_one_duration(start[of], end[of], slack):
                chosen = of[like]
                chosen = chosen[np.lexsort((end[chosen], start[chosen], microbatch[chosen]))]
                texts.append(_class_text(shared, microbatch[chosen], start[chosen], end[chosen]))
    return texts


def _of_one_duration(start: Floats, end: Floats, slack: float) -> list[npt.NDArray[np.intp]]:
    """Positions of instants whose durations agree but for rounding."""
    seconds = end - start
    if np.ptp(seconds) <= slack:
        return [np.arange(len(start))]
    order = np.argsort(seconds, kind="stable")
    return np.split(order, 1 + np.flatnonzero(np.diff(seconds[order]) > slack))


def _class_text(names: Mapping[str, Any], microbatch: Integers, start: Floats, end: Floats) -> str:
    found, seconds = split(microbatch, start), duration(start, end)
    order = found.order
    late = apart(end[order], start[order] + seconds)
    row: dict[str, Any] = {
        **names,
        "seconds": seconds,
        "microbatches": microbatch[found.alone].tolist(),
        "starts": start[found.alone].tolist(),
    }
    if found.progressions:
        row["repeated"] = [
            {
                "microbatch": each.microbatch,
                "start": each.start,
                "times": each.times,
                "microbatches": each.microbatches,
                "length": each.length,
                **({"rounding": each.rounding} if each.rounding else {}),
            }
            for each in found.progressions
        ]
    if late.any():
        row["end_rounding"] = late.tolist()
    return _encode(row)


# -- reading --------------------------------------------------------------------------------------------------


class Expanded:
    """The rows of classes, column by column, by start, device, stream or target, microbatch, operator and pass.

    ``class_of``: from which class each row comes. Raises ``Misfit`` where classes stand for no rows.
    """

    def __init__(self, classes: Sequence[Mapping[str, Any]], keys: Sequence[str], names: Names) -> None:
        count = 0
        for k, row in enumerate(classes):
            count += len(row["starts"])
            if count > MOST_ROWS:
                raise Misfit(("classes", k, "starts"), f"makes more than {MOST_ROWS:,} rows: more than a plan may have")
            for j, again in enumerate(row.get("repeated", ())):
                count += 1 + again["times"]
                if count > MOST_ROWS:  # before any of them is made
                    steps = ("classes", k, "repeated", j, "times")
                    raise Misfit(steps, f"makes more than {MOST_ROWS:,} rows: more than a plan may have")
        parts = [_expanded(k, row) for k, row in enumerate(classes)]
        self.names: list[Any] = [tuple(row[key] for key in keys) for row in classes]
        of = np.repeat(np.arange(len(parts)), np.array([len(start) for _, start, _ in parts], dtype=np.int64))
        microbatch = _joined([part[0] for part in parts], np.int64)
        start, end = (_joined([part[k] for part in parts], np.float64) for k in (1, 2))
        operator, pass_, copy, where, there = (place[of] for place in names.places(self.names, keys))
        order = np.lexsort((copy, pass_, operator, microbatch, there, where, start))
        self.class_of, self.microbatch, self.start, self.end = (c[order] for c in (of, microbatch, start, end))

    def rows(self, kind: type[ItemT]) -> tuple[ItemT, ...]:
        """As tasks or transfers."""
        operator, pass_, copy, where, there = (
            [self.names[k][column] for k in self.class_of.tolist()] for column in range(5)
        )
        numbers = (self.microbatch.tolist(), copy)
        return tuple(map(kind, operator, pass_, *numbers, where, there, self.start.tolist(), self.end.tolist()))


def _expanded(k: int, row: Mapping[str, Any]) -> tuple[Integers, Floats, Floats]:
    """Microbatch, start and end of all rows of class k."""
    here = ("classes", k)
    if len(row["microbatches"]) != len(row["starts"]):
        counts = f"has {len(row['starts'])} numbers, and microbatches has {len(row['microbatches'])}"
        raise Misfit((*here, "starts"), f"{counts}: one each")
    microbatches, starts = [np.array(row["microbatches"], dtype=np.int64)], [np.array(row["starts"], dtype=float)]
    for j, again in enumerate(row.get("repeated", ())):
        count = 1 + again["times"]
        rounding = again.get("rounding", ())
        _fits((*here, "repeated", j, "rounding"), rounding, again["times"])
        microbatch = again["microbatch"] + again["microbatches"] * np.arange(count, dtype=np.int64)
        if abs(int(microbatch[-1])) >= 2**31:
            raise Misfit((*here, "repeated", j, "microbatches"), f"leads to microbatch {microbatch[-1]}")
        microbatches.append(microbatch)
        with np.errstate(over="ignore", invalid="ignore"):
            starts.append(in_progression(again["start"], again["length"], again["times"], rounding))
        _finite((*here, "repeated", j), starts[-1])
    start = np.concatenate(starts)
    late = row.get("end_rounding", ())
    _fits((*here, "end_rounding"), late, len(start))
    with np.errstate(over="ignore", invalid="ignore"):
        end = moved(start + row["seconds"], late or 0)
    _finite((*here, "seconds"), end)
    return np.concatenate(microbatches), start, end


def _fits(steps: Sequence[str | int], rounding: Sequence[int], count: int) -> None:
    if rounding and len(rounding) != count:
        raise Misfit(steps, f"has {len(rounding)} numbers: there must be {count}, or none")


def _finite(steps: Sequence[str | int], instants: Floats) -> None:
    if not np.isfinite(instants).all():
        raise Misfit(steps, "leads to an instant that is no finite number")


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=kind)
