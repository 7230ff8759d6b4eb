"""The sentence, figures and tables of the page of inference, where they differ from those of training."""

from __future__ import annotations

from collections.abc import Sequence

from planner.report.html.tables import boxes, text
from planner.report.words import NONE, count, seconds, size
from planner.strategies.inference.text import limits
from planner.strategies.inference.text import name_of as named
from planner.strategies.page.tables import Document, left, neighbour_table, proven, ranked_table

__all__ = ["named", "sections"]


def sections(document: Document, top: Sequence[int]) -> dict[str, str]:
    """The parts of the page that only inference has. ``top``: the point of each of the best strategies."""
    return {
        "answer": _answer(document),
        "posed": _posed(document),
        "tiles": _tiles(document),
        "best": _best_table(document, top),
        "neighbours": neighbour_table(document, "GPU time a token"),
        "chart": "Throughput against latency",
        "explained": "A strategy that serves stands at its tokens/s/GPU and its time from token to token, both with "
        "all slots taken; the others have no point. The stepped line is the frontier: the most that any reaches within "
        "each latency.",
        "holds": "The lower bound holds for every strategy of the space and every cut into contiguous stages, under "
        "the cost model.",
        "heading": "The winner's decode steps",
        "below": _repeats(document),
    }


def _answer(document: Document) -> str:
    """The answer in one sentence, and how good it is proven to be, as HTML."""
    space, where = document["space"], f"{document['model']} on {document['cluster']}"
    total = f"{space['strategies']:,} strateg{'y' if space['strategies'] == 1 else 'ies'}"
    if not document["strategies"]:
        undecided = left(space)
        why = f"{undecided:,} are not decided" if undecided else "each is invalid, or proven out of memory or too slow"
        return f"<b>No strategy</b> serves {text(where)} as asked: of {total}, {why}."
    best = document["strategies"][0]
    said = (
        f"<b>{text(named(best))}</b> serves {text(where)} at <b>{count(best['tokens_per_second_per_gpu'])} "
        f"tokens/s</b> a GPU: the first token in {seconds(best['prefill_latency'], 3)}, then one every "
        f"{seconds(best['token_latency'], 3)}"
    )
    if not document["lower_bound"]:  # not all have been looked at
        return f"{said}, the best found of {total}."
    most = _most(document["lower_bound"])
    return f"{said}. None of the {total} exceeds {most} tokens/s a GPU: proven within <b>{text(proven(document))}</b>."


def _repeats(document: Document) -> str:
    """That the next step of the plan begins before this one has ended, as HTML."""
    plan = document["plan"]
    if plan is None or plan["period"] is None:
        return ""
    period, least = text(seconds(plan["period"])), text(seconds(plan["lower_bound"]))
    return (
        f"<p class='note'>One step of all microbatches. At full load a microbatch follows every {period}: the next "
        "step fills what looks idle here. The plan keeps that period short; no placement has a shorter one than "
        f"{least}.</p>"
    )


def _most(bound: float) -> str:
    """Tokens a second and GPU under a bound on GPU seconds a token; 0 proves nothing."""
    return count(1 / bound) if bound > 0 else NONE


def _posed(document: Document) -> str:
    """The question, in a line."""
    parts = [
        "inference",
        f"{document['gpus']} GPUs",
        f"prompts of {document['prompt']:,} tokens",
        f"answers of {document['output_length']:,}",
        *limits(document),
        str(document["precision"]),
    ]
    return text(" · ".join(parts))


def _tiles(document: Document) -> str:
    """The main figures of the winner."""
    if not document["strategies"]:
        return ""
    best = document["strategies"][0]
    return boxes(
        [
            ("tokens/s/GPU", count(best["tokens_per_second_per_gpu"]), f"of answers, on {best['gpus']} GPUs"),
            ("at most", _most(document["lower_bound"]), f"in the whole space, gap {proven(document)}"),
            ("first token", seconds(best["prefill_latency"], 3), f"of a prompt of {document['prompt']:,} alone"),
            ("each token", seconds(best["token_latency"], 3), "in the middle of an answer"),
            ("requests/s", count(best["requests_per_second"]), f"{best['sequences_in_flight']:,} in flight"),
            ("peak memory", size(best["peak_bytes"]), f"{size(best['cache_bytes'], 3)} of it caches"),
        ]
    )


def _best_table(document: Document, top: Sequence[int]) -> str:
    heads = ("tokens/s/GPU", "at most", "first token", "each token", "decode/s/GPU", "prefill/s/GPU", "requests/s")
    return ranked_table(
        document["strategies"],
        top,
        (*heads, "peak memory", "caches"),
        lambda each: (1 / each["seconds"], 1 / each["lower_bound"] if each["lower_bound"] else None),
        lambda each: (
            count(each["tokens_per_second_per_gpu"]),
            _most(each["lower_bound"]),
            seconds(each["prefill_latency"], 3),
            seconds(each["token_latency"], 3),
            count(each["decode_tokens_per_second_per_gpu"]),
            count(each["prefill_tokens_per_second_per_gpu"]),
            count(each["requests_per_second"]),
            size(each["peak_bytes"], 3),
            size(each["cache_bytes"], 3),
        ),
    )
