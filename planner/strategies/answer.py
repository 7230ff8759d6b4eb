"""The answer as a document: the best strategies, what each neighbour would cost, what became of the whole space."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.plan.plan import Plan
from planner.strategies.evaluate import throughput
from planner.strategies.launch import Planned
from planner.strategies.made import graphs_of
from planner.strategies.request import RUNNABLE, Request
from planner.strategies.search import Found, Looked
from planner.strategies.space import Candidate

FORMAT = "planner-strategy"

CHANGED = ("tp", "cp", "ep", "pp", "mbs", "zero")
"""The degrees of which neighbours have another value; dp takes what is left."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What was found. ``chosen``: the best strategies; ``plans``: the plan of each that has one, by its place there."""

    request: Request
    found: Found
    chosen: tuple[Looked, ...]
    plans: Mapping[int, Planned]

    @property
    def winner(self) -> Plan | None:
        """The plan of the best strategy; None where there was no time for it."""
        return self.plans[0].plan if 0 in self.plans else None


def document_of(answer: Answer, others: Sequence[Answer] = ()) -> Document:
    """The document, for ``--format json`` and the page. Times in seconds, sizes in bytes.

    ``others``: the answers for every number of GPUs, where there were several.
    """
    request, found = answer.request, answer.found
    best, bound = found.best, found.lower_bound
    states = Counter(looked.state(best) for looked in found.looked)
    free = found.free
    return {
        "format": FORMAT,
        "model": request.name,
        "cluster": request.cluster.name,
        "gpus": max(request.gpus),
        "mode": "training",
        "global_batch": request.global_batch,
        "sequence": request.sequence,
        "runtime": request.runtime,
        "schedules": request.schedules,
        "precision": request.precision,
        "memory_cap": _finite(
            min(request.memory or part.device.memory or math.inf for part in graphs_of(request).parts)
        ),
        "space": {
            "strategies": found.space.size,
            "invalid": found.space.invalid.total() + states["invalid"],
            "out_of_memory": states["out of memory"],
            "pruned_by_bound": states["pruned"],
            "solved": states["solved"],
            "open": states["open"],
        },
        "best_seconds": _finite(best),
        "lower_bound": _finite(bound),
        "gap": found.gap,
        "interrupted": found.interrupted,
        "strategies": [_row(request, looked, rank) for rank, looked in enumerate(answer.chosen, 1)],
        "neighbours": list(_neighbours(found, answer.chosen[0])) if answer.chosen else [],
        "unrestricted": None if free is None else {"seconds": free[0], "lower_bound": free[1]},
        "invalid": [{"reason": reason, "strategies": n} for reason, n in found.space.invalid.most_common()],
        "points": [_point(looked, best) for looked in found.looked],
        "by_gpus": [_number(each) for each in others] if len(others) > 1 else [],
        "assumptions": list(assumptions(request)),
    }


def _number(answer: Answer) -> Document:
    """The row of one number of GPUs."""
    found, request = answer.found, answer.request
    each = throughput(request, answer.chosen[0].candidate, found.best)[0] if answer.chosen else None
    return {
        "gpus": request.gpus[0],
        "seconds": _finite(found.best),
        "lower_bound": _finite(found.lower_bound),
        "gap": found.gap,
        "tokens_per_second_per_gpu": each,
        "strategy": answer.chosen[0].candidate.name if answer.chosen else None,
    }


def assumptions(request: Request) -> Iterator[str]:
    """What the figures rest on, a sentence each."""
    runtime = request.runs
    yield (
        "Kernels and collectives take what the calibration of the GPU type says; docs/truth.md compares such steps "
        "with measured ones."
    )
    yield "The ranks of a stage run in lockstep, so one of them is planned. Tensor ranks share a node."
    if request.schedules == RUNNABLE:
        yield f"Plans are those that {runtime.title} runs, as it runs them (docs/runtimes.md)."
    else:
        yield "Plans are those of the device model; no framework runs all of them."
    if "mbs" not in request.fixed:
        yield "Microbatches have 1, 2, 4, 8 or 16 sequences."
    if "zero" not in request.fixed:
        stages = ", ".join(map(str, runtime.zero))
        yield f"Of ZeRO {stages}, which {runtime.name} runs, 0 and 1 are left out where a higher of 1 and 2 is there."
    yield (
        "The lower bound holds for every strategy of this space, every placement, order and choice of what is "
        "recomputed, with these times."
    )


def _row(request: Request, looked: Looked, rank: int) -> Document:
    result = looked.result
    assert result is not None
    each, mfu = throughput(request, looked.candidate, looked.seconds)
    return {
        "rank": rank,
        **looked.candidate.degrees,
        **({"order": list(looked.candidate.order)} if looked.candidate.order else {}),
        "vpp": result["vpp"],
        "schedule": result["schedule"],
        "recompute": result["recompute"],
        "seconds": looked.seconds,
        "lower_bound": looked.lower_bound,
        "tokens_per_second_per_gpu": each,
        "mfu": mfu,
        "peak_bytes": result["peak_bytes"],
        "bubble_ratio": result["bubble_ratio"],
        "exposed_seconds": result["exposed_seconds"],
    }


def _point(looked: Looked, best: float) -> Document:
    result = looked.result or {}
    return {
        **looked.candidate.degrees,
        "vpp": result.get("vpp"),
        "schedule": result.get("schedule"),
        "recompute": result.get("recompute"),
        "state": looked.state(best),
        "seconds": _finite(looked.seconds),
        "lower_bound": None if looked.without else looked.lower_bound,
        "peak_bytes": result.get("peak_bytes"),
        "least_bytes": looked.least_bytes or None,
        "reason": looked.reason,
    }


def _neighbours(found: Found, winner: Looked) -> Iterator[Document]:
    """The strategies that differ from the winner in one degree: its next smaller and its next larger value."""
    for looked, change in neighbours(found.looked, winner.candidate):
        yield {
            "change": change,
            "state": looked.state(found.best),
            "seconds": _finite(looked.seconds),
            "lower_bound": None if looked.without else looked.lower_bound,
            "reason": looked.reason,
        }


def neighbours(all_of_them: Sequence[Looked], winner: Candidate) -> Iterator[tuple[Looked, str]]:
    """The neighbours of a strategy, each with what changes, in words."""
    own = winner.degrees
    for name in CHANGED:
        some = {
            looked.candidate.degrees[name]: looked
            for looked in all_of_them
            if looked.candidate.order == winner.order
            and all(looked.candidate.degrees[k] == own[k] for k in own if k not in (name, "dp", "zero"))
            and (name == "zero" or looked.candidate.degrees["zero"] == own["zero"] or own["dp"] * own["cp"] == 1
                 or looked.candidate.degrees["dp"] * looked.candidate.degrees["cp"] == 1)
        }  # fmt: skip
        below = [value for value in some if value < own[name]]
        above = [value for value in some if value > own[name]]
        for value in ([max(below)] if below else []) + ([min(above)] if above else []):
            other = some[value].candidate.degrees
            parts = [f"{k} {own[k]} -> {other[k]}" for k in (name, "dp", "zero") if own[k] != other[k]]
            yield some[value], ", ".join(dict.fromkeys(parts))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
