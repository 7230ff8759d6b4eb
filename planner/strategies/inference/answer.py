"""The answer as a document: the best strategies, latency against throughput, neighbours, what became of the space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from planner.plan.plan import Plan
from planner.strategies.answer import FORMAT
from planner.strategies.inference.best import Answer
from planner.strategies.inference.evaluate import Figures, Looked
from planner.strategies.inference.search import Found

CHANGED = ("tp", "ep", "pp", "mbs")
"""The degrees of which neighbours have another value; dp takes what is left."""

DEGREES = ("gpus", "tp", "ep", "pp", "dp", "mbs")

OBJECTIVE = "GPU seconds a token of an answer, prefill included"

Document = dict[str, Any]


def document_of(answer: Answer) -> Document:
    """The document, for ``--format json`` and the page. Times in seconds, sizes in bytes.

    ``best_seconds`` and ``lower_bound`` are of ``objective``; ``plan`` is of the winner's decode steps.
    """
    found, chosen = answer.found, answer.chosen
    question, states, plan = found.question, found.states, answer.winner
    return {
        "format": FORMAT,
        "model": question.name,
        "cluster": question.cluster.name,
        "gpus": question.gpus,
        "mode": "inference",
        "prompt": question.prompt,
        "output_length": question.output,
        "max_prefill_latency": _finite(question.max_prefill),
        "max_token_latency": _finite(question.max_token),
        "precision": question.precision,
        "memory_cap": _finite(found.phases.cap),
        "objective": OBJECTIVE,
        "space": {
            "strategies": len(found.looked) + found.invalid.total(),
            "invalid": found.invalid.total(),
            "out_of_memory": states["out of memory"],
            "too_slow": states["too slow"],
            "pruned_by_bound": 0,
            "solved": states["solved"],
            "open": states["open"],
        },
        "best_seconds": _finite(found.best),
        "lower_bound": _finite(found.lower_bound),
        "gap": found.gap,
        "interrupted": found.interrupted,
        "strategies": [row for rank, looked in enumerate(chosen, 1) if (row := _row(looked, rank))],
        "frontier": [row for looked in found.frontier() if (row := _row(looked))],
        "neighbours": list(_neighbours(found, chosen[0])) if chosen else [],
        "plan": None if plan is None else _plan(plan),
        "invalid": [{"reason": reason, "strategies": n} for reason, n in found.invalid.most_common()],
        "points": [_point(looked) for looked in found.looked],
        "assumptions": list(assumptions(found)),
    }


def assumptions(found: Found) -> Iterator[str]:
    """What the figures rest on, a sentence each."""
    yield (
        "Kernels and collectives take what the calibration of the GPU type says; a stage runs its kernels one after "
        "another, collectives included. Attention in decode reads its cache at the rate of memory."
    )
    yield (
        "A replica has a microbatch a stage in flight, each of as many sequences as mbs says; all slots are taken, and "
        "each has room for prompt and answer. Short prompts are read together, up to 8,192 tokens a pass."
    )
    yield (
        "A token takes as long as a pass, or as all microbatches on the busiest stage or channel where that is longer. "
        "Its time is that in the middle of an answer."
    )
    yield (
        "Memory: weights, caches, and what the operators of one layer write. The engine's own memory and what kernels "
        "hold while they run are not in it."
    )
    if "mbs" not in found.question.fixed:
        yield "Microbatches have 1, 2, 4, ... or 4,096 sequences."
    yield "The lower bound holds for every strategy of this space and every cut into contiguous stages."


def _row(looked: Looked, rank: int | None = None) -> Document:
    figures = looked.figures
    if figures is None:
        return {}
    row = {} if rank is None else {"rank": rank}
    return row | _degrees(looked) | _figures(figures) | {"lower_bound": looked.lower_bound}


def _figures(figures: Figures) -> Document:
    gpus, output = figures.strategy.gpus, figures.question.output
    return {
        "seconds": figures.seconds,
        "tokens_per_second_per_gpu": 1 / figures.seconds,
        "requests_per_second": figures.requests_per_second,
        "tokens_per_second": figures.requests_per_second * output,
        "prompts_together": figures.prompts,
        "prefill_latency": figures.prefill_latency,
        "prefill_period": figures.prefill_period,
        "prefill_tokens_per_second_per_gpu": figures.prefill_tokens_per_second / gpus,
        "token_latency": figures.token_latency,
        "pass_latency": figures.pass_latency,
        "decode_period": figures.decode_period,
        "decode_tokens_per_second_per_gpu": figures.decode_tokens_per_second / gpus,
        "request_latency": figures.prefill_latency + figures.question.steps * figures.token_latency,
        "sequences_in_flight": figures.in_flight * figures.strategy.dp,
        "peak_bytes": figures.stages.bytes,
        "weight_bytes": figures.weights,
        "cache_bytes": figures.caches,
        "stages": list(figures.stages.ends),
    }


def _degrees(looked: Looked) -> Document:
    return {name: getattr(looked.strategy, name) for name in DEGREES}


def _point(looked: Looked) -> Document:
    figures = looked.figures
    return {
        **_degrees(looked),
        "state": looked.state,
        "seconds": _finite(looked.seconds),
        "lower_bound": _finite(looked.lower_bound),
        "prefill_latency": None if figures is None else figures.prefill_latency,
        "token_latency": None if figures is None else figures.token_latency,
        "peak_bytes": None if figures is None else figures.stages.bytes,
        "reason": looked.reason,
    }


def _neighbours(found: Found, winner: Looked) -> Iterator[Document]:
    """The strategies that differ from the winner in one degree: its next smaller and its next larger value."""
    own = _degrees(winner)
    for name in CHANGED:
        some = {
            degrees[name]: looked
            for looked, degrees in ((each, _degrees(each)) for each in found.looked)
            if all(degrees[other] == own[other] for other in own if other not in (name, "dp"))
        }
        below, above = [v for v in some if v < own[name]], [v for v in some if v > own[name]]
        for value in ([max(below)] if below else []) + ([min(above)] if above else []):
            looked = some[value]
            other = _degrees(looked)
            figures = looked.figures
            yield {
                "change": ", ".join(f"{k} {own[k]} -> {other[k]}" for k in (name, "dp") if own[k] != other[k]),
                "state": looked.state,
                "seconds": _finite(looked.seconds),
                "token_latency": None if figures is None else figures.token_latency,
                "lower_bound": _finite(looked.lower_bound),
                "reason": looked.reason,
            }


def _plan(plan: Plan) -> Document:
    """The period of a plan of decode steps, with its bound over all placements."""
    period = plan.figure("period")
    assert period is not None  # of its objective
    return {"period": period.value, "lower_bound": period.bound, "status": plan.status}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
