"""Which variants of operators a plan chose, the memory that this freed and the time that it cost."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.plan.build import timetable_of
from planner.plan.plan import Plan
from planner.problem import BASE, Problem
from planner.report.words import names_in_brief, percent, plain, seconds, size

GROUPS_AT_MOST = 12
"""Lines of the report; the rest is in the plan."""

_NUMBERS = re.compile(r"(?<=\.)\d+(?=\.|$)|(?<=\D)\d+$")


@dataclass(frozen=True)
class Chosen:
    """What a device runs in other variants than base.

    ``freed``: bytes, when the device is fullest: the difference from base times the microbatches in flight. ``added``:
    seconds of work in a step more than at base. Both are None where graph and cluster are not known.
    """

    device: str
    words: str
    freed: float | None = None
    added: float | None = None

    @property
    def gains(self) -> str:
        """What it frees and costs in words; empty where that is not known."""
        return _gains([self])


def has_variants(plan: Plan) -> bool:
    """Whether a plan has any operator in another variant than base."""
    return any(placed.variant != BASE for placed in plan.placement)


def chosen_variants(plan: Plan, problem: Problem | None = None) -> list[Chosen]:
    """What was chosen, device by device, those that run everything at base left out."""
    counts: dict[str, Counter[tuple[str, str]]] = {}
    for placed in plan.placement:
        counts.setdefault(placed.device, Counter())[placed.variant, kind_of(placed.operator)] += 1
    known = problem is not None and plan.repeated is None and has_variants(plan)
    figures = _figures(plan, problem) if known and problem is not None else {}
    found = []
    for device in plan.devices:
        own = counts.get(device.name, Counter())
        words = _words(own)
        if words:
            found.append(Chosen(device.name, words, *figures.get(device.name, (None, None))))
    return found


def kind_of(operator: str) -> str:
    """What repetitions of a block call alike: ``layer.*.attn``."""
    return _NUMBERS.sub("*", operator)


def _words(counts: Counter[tuple[str, str]]) -> str:
    """``12 of 24 layer.*.attn as selective; all 24 layer.*.mlp as full``."""
    total: Counter[str] = Counter()
    by_variant: dict[str, list[tuple[str, int]]] = {}
    for (variant, kind), count in counts.items():
        total[kind] += count
        if variant != BASE:
            by_variant.setdefault(variant, []).append((kind, count))
    parts = []
    for variant, some in sorted(by_variant.items()):
        of = ", ".join(_of(kind, count, total[kind]) for kind, count in some)
        parts.append(f"{of} as {variant}")
    return plain("; ".join(parts))


def _of(kind: str, count: int, total: int) -> str:
    if total == 1:
        return kind
    return f"all {total} {kind}" if count == total else f"{count} of {total} {kind}"


def _figures(plan: Plan, problem: Problem) -> dict[str, tuple[float, float]]:
    """Bytes freed and seconds added, by device."""
    table = timetable_of(plan, problem)
    ends, placement = table.ends(problem), table.placement
    base = problem.chosen((0,) * problem.n_operators)
    own = problem.of_copies(placement)
    copy_of = np.array(table.copy_of)
    found = {}
    for d, device in enumerate(problem.cluster.devices):
        at = next(each.peak_memory_at for each in plan.devices if each.name == device.name)
        freed = added = 0.0
        resident: dict[int, float] = {}
        for copy, each in enumerate(own):
            here = np.flatnonzero(np.array(placement.device_of[copy]) == d)
            versions = problem.versions_of(placement, copy)
            for i in here.tolist():
                resident[i] = max(resident.get(i, 0.0), float(each.parameters[i]))
                if versions[i] == 0:
                    continue
                runs = copy_of == copy
                held = (table.start[i, 0] <= at) & (at < ends[i, 1 if problem.training else 0]) & runs
                freed += float(base.activation[i] - each.activation[i]) * int(held.sum())
                if base.runs_on[i, d]:
                    added += float((each.duration[i, :, d] - base.duration[i, :, d]).sum()) * int(runs.sum())
        freed += sum(float(base.parameters[i]) - size_ for i, size_ in resident.items())
        found[device.name] = (freed, added)
    return found


def variant_lines(plan: Plan, problem: Problem | None = None) -> list[str]:
    """What was chosen, a line for all devices that chose alike, and what it frees and costs, where that is known."""
    groups: dict[str, list[Chosen]] = {}
    for chosen in chosen_variants(plan, problem):
        groups.setdefault(chosen.words, []).append(chosen)
    if not groups:
        return []
    devices = [device.name for device in plan.devices]
    lines = []
    for words, some in list(groups.items())[:GROUPS_AT_MOST]:
        gains = _gains(some)
        on = names_in_brief([each.device for each in some], devices)
        lines.append(f"{on}: {words}" + (f"; {gains}" if gains else ""))
    if len(groups) > GROUPS_AT_MOST:
        lines.append(f"... and others on {sum(map(len, list(groups.values())[GROUPS_AT_MOST:]))} more devices")
    every = [each for some in groups.values() for each in some]
    if every[0].added is not None:
        added, busy = sum(each.added or 0.0 for each in every), sum(device.busy for device in plan.devices)
        share = f", {percent(added / busy)} of all work" if busy > 0 else ""
        peaks = {device.name: device.peak_memory for device in plan.devices}
        fullest = max([*peaks.values(), *(peaks[each.device] + (each.freed or 0.0) for each in every)])
        lines.append(
            f"in all {_more(added)}{share}; the same schedule at base would hold at least {size(fullest)} on a device"
        )
    return lines


def _gains(some: Sequence[Chosen]) -> str:
    """What they free when they are fullest, and add to the work of a step; from the least to the most of several."""
    freed = [each.freed for each in some if each.freed is not None]
    added = [each.added for each in some if each.added is not None]
    if not freed or not added:
        return ""
    low, high = size(min(freed)), size(max(freed))
    bytes_ = low if low == high else f"{low} to {high}"
    first, last = _more(min(added)), seconds(max(added), 4)
    return f"frees {bytes_} at the peak, {first}" + ("" if seconds(min(added), 4) == last else f" to {last}")


def _more(added: float) -> str:
    return f"saves {seconds(-added, 4)}" if added < 0 else f"adds {seconds(added, 4)}"
