"""The answer as text: what to run in a sentence, the best strategies, latency against throughput, neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.tables import pairs, rendered, table
from planner.report.words import count, gap, seconds, size

Document = Mapping[str, Any]

DEGREES = ("tp", "ep", "pp", "dp", "mbs")

FRONTIER_AT_MOST = 12
"""Rows of latency against throughput in the text; the document has all."""


def inference_text(document: Document, width: int, color: bool) -> str:
    """The report of a document of inference."""
    rows: Sequence[Document] = document["strategies"]
    parts: list[Any] = [pairs(_facts(document))]
    if rows:
        parts += ["", _table(rows, ranked=True)]
    if len(document["frontier"]) > 1:
        parts += ["", "latency against throughput, from the fastest to the cheapest:"]
        parts.append(_table(_thinned(document["frontier"]), ranked=False))
    if document["neighbours"]:
        parts += ["", "what one degree more or less would bring:", _neighbours(document)]
    parts += ["", *(f"- {line}" for line in document["assumptions"])]
    return rendered(parts, width, color)


def sentence(document: Document) -> str:
    """What to run, in one line."""
    rows = document["strategies"]
    if not rows:
        return "no strategy serves this"
    best = rows[0]
    return (
        f"{name_of(best)}: {count(best['tokens_per_second_per_gpu'])} tokens/s/GPU, first token in "
        f"{seconds(best['prefill_latency'], 3)}, then one every {seconds(best['token_latency'], 3)}, gap over all "
        f"strategies {gap(document['gap'])}"
    )


def name_of(row: Document) -> str:
    """``TP 2, PP 4, microbatches of 128``: the degrees above 1."""
    parts = [f"{key.upper()} {row[key]}" for key in ("tp", "ep", "pp", "dp") if row[key] > 1] or ["one GPU"]
    return ", ".join([*parts, f"microbatches of {row['mbs']}"])


def limits(document: Document) -> list[str]:
    """The limits of latency that were asked for, in words."""
    return [
        f"{words} at most {seconds(document[key])}"
        for key, words in (("max_prefill_latency", "first token in"), ("max_token_latency", "then one every"))
        if document[key] is not None
    ]


def _facts(document: Document) -> list[tuple[str, str]]:
    space = document["space"]
    counts = [
        f"{space['strategies']:,} strategies: {space['solved']:,} serve",
        f"{space['too_slow']:,} too slow",
        f"{space['out_of_memory']:,} proven out of memory",
        f"{space['invalid']:,} invalid",
    ]
    if space["open"]:
        counts.append(f"{space['open']:,} left open")
    question = (
        f"{document['model']} on {document['cluster']}, prompts of {document['prompt']:,} tokens, answers of "
        f"{document['output_length']:,}"
    )
    found = [("question", ", ".join([question, *limits(document)])), ("best", sentence(document))]
    if document["best_seconds"] is not None:
        best, bound = document["best_seconds"], document["lower_bound"]
        found.append(
            (
                "lower bound",
                f"{seconds(bound)} of a GPU a token; the best takes {seconds(best)} ({document['objective']})",
            )
        )
    plan = document["plan"]
    if plan is not None:
        period, least = seconds(plan["period"]), seconds(plan["lower_bound"])
        found.append(
            ("plan", f"a pass each {period}, {plan['status']}: no placement has a shorter period than {least}")
        )
    return [*found, ("space", "; ".join(counts))]


def _table(rows: Sequence[Document], ranked: bool) -> Any:
    """Degrees that are 1 everywhere are left out."""
    degrees = [key for key in DEGREES if any(row[key] != 1 for row in rows) or key == "mbs"]
    headings = [*([""] if ranked else []), *degrees, "first token", "each token", "tokens/s/GPU", "decode/s/GPU"]
    headings += ["prefill/s/GPU", "requests/s", "memory", "caches"]
    made = table([(heading, "right") for heading in headings])
    for row in rows:
        made.add_row(
            *([str(row["rank"])] if ranked else []),
            *(str(row[key]) for key in degrees),
            seconds(row["prefill_latency"], 3),
            seconds(row["token_latency"], 3),
            count(row["tokens_per_second_per_gpu"]),
            count(row["decode_tokens_per_second_per_gpu"]),
            count(row["prefill_tokens_per_second_per_gpu"]),
            count(row["requests_per_second"]),
            size(row["peak_bytes"], 3),
            size(row["cache_bytes"], 3),
        )
    return made


def _thinned(rows: Sequence[Document]) -> list[Document]:
    """The first, the last, and evenly some between."""
    if len(rows) <= FRONTIER_AT_MOST:
        return list(rows)
    last = len(rows) - 1
    return [rows[round(k * last / (FRONTIER_AT_MOST - 1))] for k in range(FRONTIER_AT_MOST)]


def _neighbours(document: Document) -> Any:
    made = table([("change", "left"), ("tokens/s/GPU", "right"), ("", "right"), ("each token", "right"), ("", "left")])
    best = document["best_seconds"]
    for each in document["neighbours"]:
        if each["seconds"] is None:
            made.add_row(
                each["change"], "", "", "", f"{each['state']}: {each['reason']}" if each["reason"] else each["state"]
            )
            continue
        change = f"{best / each['seconds'] - 1:+.1%}"
        made.add_row(each["change"], count(1 / each["seconds"]), change, seconds(each["token_latency"], 3), "")
    return made
