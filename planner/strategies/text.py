"""The answer as text: what to run in a sentence, the best strategies, neighbours, the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.tables import pairs, rendered, table
from planner.report.words import NONE, count, gap, percent, seconds, size

Document = Mapping[str, Any]

DEGREES = ("tp", "cp", "ep", "pp", "vpp", "dp", "mbs", "zero")


def strategy_text(document: Document, width: int, color: bool) -> str:
    """The report of a ``planner-strategy`` document."""
    rows: Sequence[Document] = document["strategies"]
    parts: list[Any] = [pairs(_facts(document))]
    if rows:
        parts += ["", _best(document, rows)]
    if document["by_gpus"]:
        parts += ["", _by_gpus(document["by_gpus"])]
    if document["neighbours"]:
        parts += ["", "what one degree more or less would cost:", _neighbours(document)]
    parts += ["", *(f"- {line}" for line in document["assumptions"])]
    return rendered(parts, width, color)


def sentence(document: Document) -> str:
    """What to run, in one line."""
    rows = document["strategies"]
    if not rows:
        return "no plan of any strategy was found"
    best = rows[0]
    return f"{name_of(best)}: {seconds(best['seconds'])} a step, gap over all strategies {gap(document['gap'])}"


def name_of(row: Document) -> str:
    """``TP 4, PP 4, CP 2, DP 2, ...``: the degrees above 1, the schedule and what is recomputed."""
    parts = [f"{key.upper()} {row[key]}" for key in ("tp", "cp", "ep", "pp", "dp") if row[key] > 1] or ["one GPU"]
    parts += [f"microbatches of {row['mbs']}"]
    parts += [f"ZeRO {row['zero']}"] if row["zero"] else []
    if row["schedule"]:
        stages = f" with {row['vpp']} stages a rank" if (row["vpp"] or 1) > 1 else ""
        parts.append(f"{row['schedule']}{stages}")
    parts += [f"recompute {row['recompute']}"] if row["recompute"] not in (None, "none") else []
    if row.get("order"):
        parts.append(" before ".join(row["order"]))
    return ", ".join(parts)


def _facts(document: Document) -> list[tuple[str, str]]:
    space = document["space"]
    counts = [
        f"{space['strategies']:,} strategies: {space['solved']:,} with a plan",
        f"{space['pruned_by_bound']:,} pruned by their bound",
        f"{space['out_of_memory']:,} proven out of memory",
        f"{space['invalid']:,} invalid",
    ]
    if space["open"]:
        counts.append(f"{space['open']:,} left open")
    found = [
        ("question", f"{document['model']} on {document['cluster']}, {document['global_batch']:,} sequences of "
         f"{document['sequence']:,} tokens a step, as {document['runtime']} runs it"
         if document["schedules"] == "runnable" else
         f"{document['model']} on {document['cluster']}, {document['global_batch']:,} sequences of "
         f"{document['sequence']:,} tokens a step, any schedule"),
        ("best", sentence(document)),
    ]  # fmt: skip
    if document["best_seconds"] is not None:
        found.append(("lower bound", f"{seconds(document['lower_bound'])}: no strategy here has a shorter step"))
    free = document["unrestricted"]
    if free is not None:
        found.append(
            ("any schedule", f"{seconds(free['seconds'])} with these degrees (bound {seconds(free['lower_bound'])})")
        )
    return [*found, ("space", "; ".join(counts))]


def _best(document: Document, rows: Sequence[Document]) -> Any:
    """The table; degrees that are 1 everywhere are left out."""
    degrees = [key for key in DEGREES if any(row[key] != 1 for row in rows) or key in ("mbs", "zero")]
    headings = ["", *degrees, "recompute", "step", "tokens/s/GPU", "MFU", "memory", "bubble", "exposed"]
    made = table([(heading, "left" if heading == "recompute" else "right") for heading in headings])
    for row in rows:
        exposed = row["exposed_seconds"]
        made.add_row(
            str(row["rank"]),
            *(str(row[key]) for key in degrees),
            row["recompute"],
            seconds(row["seconds"], 4),
            count(row["tokens_per_second_per_gpu"]),
            percent(row["mfu"], 1),
            size(row["peak_bytes"], 3),
            percent(row["bubble_ratio"], 1),
            NONE if exposed is None else seconds(exposed, 3),
        )
    return made


def _by_gpus(rows: Sequence[Document]) -> Any:
    made = table([("GPUs", "right"), ("step", "right"), ("gap", "right"), ("tokens/s/GPU", "right"), ("best", "left")])
    for row in rows:
        each = row["tokens_per_second_per_gpu"]
        made.add_row(
            f"{row['gpus']:,}",
            seconds(row["seconds"], 4),
            gap(row["gap"]),
            NONE if each is None else count(each),
            row["strategy"] or "none found",
        )
    return made


def _neighbours(document: Document) -> Any:
    made = table([("change", "left"), ("step", "right"), ("", "right"), ("", "left")])
    best = document["best_seconds"]
    for each in document["neighbours"]:
        if each["seconds"] is not None:
            cells = (seconds(each["seconds"]), f"{each['seconds'] / best - 1:+.1%}", "")
        elif each["lower_bound"] is not None:
            at_least = f"{each['lower_bound'] / best - 1:+.1%}"
            cells = (f"at least {seconds(each['lower_bound'])}", at_least, each["state"])
        else:
            cells = ("", "", f"{each['state']}: {each['reason']}")
        made.add_row(each["change"], *cells)
    return made
