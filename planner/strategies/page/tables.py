"""The sentence, figures and tables of the page. They also show without a script, and in print."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from planner.report.html.tables import boxes, cell, table, text
from planner.report.words import count, gap, percent, seconds, size
from planner.strategies.page.columns import DEGREES

Document = Mapping[str, Any]

UPPER = ("tp", "cp", "ep", "pp", "dp")
"""Degrees that people write in capitals."""

COUNTS = {
    "solved": ("solved", "solved"),
    "pruned": ("pruned_by_bound", "pruned by bound"),
    "slow": ("too_slow", "too slow"),
    "oom": ("out_of_memory", "out of memory"),
    "open": ("open", "not decided"),
    "invalid": ("invalid", "invalid"),
}
"""By style class: the field of ``space``, and what it means."""

WITHOUT = ("invalid", "out of memory", "too slow")
"""States of strategies that cannot run as asked."""

REASONS_AT_MOST = 12


def sections(document: Document, top: Sequence[int]) -> dict[str, str]:
    """The parts of the page that only training has. ``top``: the point of each of the best strategies."""
    return {
        "answer": answer(document),
        "posed": posed(document),
        "tiles": tiles(document),
        "best": best_table(document, top),
        "neighbours": neighbour_table(document, "step"),
        "chart": "Memory against time",
        "explained": "Solved strategies stand at the time of their plan, the others at their lower bound, and at the "
        "least memory that they are proven to take.",
        "holds": "The lower bound holds for every strategy of the space and every placement, schedule and variant that "
        "the flags allow, under the cost model.",
        "heading": "The winner's step",
        "below": "",
    }


def answer(document: Document) -> str:
    """The answer in one sentence, and how good it is proven to be, as HTML."""
    space, where = document["space"], f"{document['model']} on {document['cluster']}"
    total = f"{space['strategies']:,} strateg{'y' if space['strategies'] == 1 else 'ies'}"
    if not document["strategies"]:
        undecided = left(space)
        why = f"{undecided:,} of them are not decided" if undecided else "each is invalid or proven out of memory"
        return f"<b>No plan</b> for {text(where)}: of {total}, {why}."
    best = document["strategies"][0]
    said = f"<b>{text(named(best))}</b> trains {text(where)} in <b>{text(seconds(best['seconds'], 4))}</b> a step"
    if document.get("lower_bound") is None:
        return f"{said}, the best found of {total}."
    least = text(seconds(document["lower_bound"], 4))
    return f"{said}. None of the {total} is faster than {least}: proven within <b>{text(proven(document))}</b>."


def named(strategy: Mapping[str, Any]) -> str:
    """``TP 4, CP 2, PP 4, DP 2, VPP 2, micro-batch 1, ZeRO 1, interleaved-1f1b``; degrees of 1 are left out."""
    parts = [f"{name.upper()} {strategy[name]}" for name in UPPER if strategy.get(name, 1) not in (1, None)]
    parts = parts or ["one GPU"]
    if strategy.get("vpp") not in (1, None):
        parts.append(f"{strategy['vpp']} chunks a rank")
    if strategy.get("mbs") is not None:
        parts.append(f"micro-batch {strategy['mbs']}")
    if strategy.get("zero") is not None:
        parts.append(f"ZeRO {strategy['zero']}")
    if strategy.get("recompute") not in ("none", None):
        parts.append(f"recompute {strategy['recompute']}")
    return ", ".join([*parts, *([str(strategy["schedule"])] if strategy.get("schedule") else [])])


def tiles(document: Document) -> str:
    """The main figures of the winner, and what the runtime costs."""
    rows: list[tuple[str, str, str]] = []
    if document["strategies"]:
        best = document["strategies"][0]
        batch = f"{document['global_batch']:,} x {document['sequence']:,} tokens a step"
        rows = [
            ("step", seconds(best["seconds"], 4), batch),
            ("lower bound", seconds(document.get("lower_bound"), 4), f"of the whole space, gap {proven(document)}"),
            ("tokens/s/GPU", counted(best.get("tokens_per_second_per_gpu")), f"on {best.get('gpus')} GPUs"),
            ("MFU", percent(best.get("mfu"), 1), "of the peak FLOP/s"),
            ("peak memory", size(best.get("peak_bytes")), "on the fullest rank"),
            ("bubble", percent(best.get("bubble_ratio"), 1), f"exposed {seconds(best.get('exposed_seconds'), 3)}"),
        ]
    free = document.get("unrestricted")
    if free and free.get("seconds") is not None:
        saved = 1 - free["seconds"] / document["best_seconds"] if document.get("best_seconds") else 0.0
        worth = f"{percent(saved, 1)} less: what a better schedule is worth" if saved > 0 else "none faster was found"
        bound = free.get("lower_bound")
        more = worth if bound is None else f"{worth}; bound {seconds(bound, 4)}"
        rows.append(("any schedule", seconds(free["seconds"], 4), more))
    return boxes(rows)


def best_table(document: Document, top: Sequence[int]) -> str:
    """The best strategies. ``top``: the point of each, by which a row finds it in the charts."""
    figures = ("step", "its bound", "tokens/s/GPU", "MFU", "peak memory", "bubble", "exposed")
    return ranked_table(
        document["strategies"],
        top,
        figures,
        lambda each: (each["seconds"], each.get("lower_bound")),
        lambda each: (
            seconds(each["seconds"], 4),
            seconds(each.get("lower_bound"), 4),
            counted(each.get("tokens_per_second_per_gpu")),
            percent(each.get("mfu"), 1),
            size(each.get("peak_bytes")),
            percent(each.get("bubble_ratio"), 1),
            seconds(each.get("exposed_seconds"), 3),
        ),
    )


def ranked_table(
    strategies: Sequence[Document],
    top: Sequence[int],
    heads: Sequence[str],
    measure: Callable[[Document], tuple[float, float | None]],
    figures: Callable[[Document], Iterable[str]],
) -> str:
    """A row a strategy: its degrees, a bar of its ``measure`` with its bound as a mark, and its ``figures``."""
    if not strategies:
        return "<p>None was solved.</p>"
    degrees = [name for name in DEGREES if any(each.get(name) is not None for each in strategies)]
    longest = max(measure(each)[0] for each in strategies) or 1.0
    rows = []
    for each, point in zip(strategies, top, strict=True):
        value, bound = measure(each)
        mark = ""
        if bound is not None:
            mark = f"<u style='left:{100 * min(1.0, bound / longest):.2f}%' title='its bound'></u>"
        style = "own" if each is strategies[0] else "other"
        bar = f"<i class='{style}' style='width:{100 * value / longest:.2f}%'></i>{mark}"
        cells = [
            *("<td>-</td>" if each.get(name) is None else f"<td>{text(str(each[name]), 40)}</td>" for name in degrees),
            f"<td class='share'><div class='bar'>{bar}</div></td>",
            *_cells(*figures(each)),
        ]
        rows.append(f"<tr data-point='{point}'><th scope='row'>{each['rank']}</th>{''.join(cells)}</tr>")
    return table("best", ["rank", *degrees, "", *heads], rows)


def neighbour_table(document: Document, head: str) -> str:
    """What the other choices beside the winner's would cost, cheapest first. ``head``: what ``seconds`` are of."""
    best, neighbours = document.get("best_seconds"), document.get("neighbours") or ()
    if not best or not neighbours:
        return "<p>Nothing lies beside it.</p>"
    known = [each for each in neighbours if _time(each) is not None]
    longest = max([best, *(_time(each) for each in known)])
    shown = sorted(known, key=_time) + [each for each in neighbours if _time(each) is None]
    rows = []
    for each in shown:
        value = _time(each)
        name = f"<th scope='row'>{text(each['change'], 80)}</th>"
        words = f"<td class='names'>{text(_outcome(each), 200)}</td>"
        if value is None:
            rows.append(f"<tr>{name}<td class='share long'></td><td>-</td><td>-</td>{words}</tr>")
            continue
        style = "solved" if each["state"] == "solved" else "pruned"
        bar = f"<i class='{style}' style='width:{100 * value / longest:.2f}%'></i>"
        bar += f"<u style='left:{100 * best / longest:.2f}%' title='the winner'></u>"
        least = "" if each["state"] == "solved" else "at least "
        more = f"{100 * (value / best - 1):+.1f} %"
        rows.append(
            f"<tr>{name}<td class='share long'><div class='bar'>{bar}</div></td>"
            f"{''.join(_cells(least + seconds(value, 4), more))}{words}</tr>"
        )
    return table("neighbours", ["change", "", head, "more", "what became of it"], rows)


def _time(each: Mapping[str, Any]) -> Any:
    """Seconds of a neighbour: those of its plan, else its bound; None where it cannot run."""
    if each["state"] in WITHOUT:
        return None
    return each.get("lower_bound") if each.get("seconds") is None else each["seconds"]


def _outcome(each: Mapping[str, Any]) -> str:
    words = {"pruned": "pruned by bound", "open": "not decided"}.get(each["state"], each["state"])
    return f"{words}: {each['reason']}" if each.get("reason") else words


def space_bar(document: Document) -> str:
    """How many strategies were invalid, out of memory, pruned and solved: a bar, and its key."""
    space = document["space"]
    total = space["strategies"] or 1
    parts = [(style, words, _counts(space, field)) for style, (field, words) in COUNTS.items()]
    bars = "".join(
        f"<i class='{style}' style='width:{100 * n / total:.3f}%' title='{text(words)}: {n:,}'></i>"
        for style, words, n in parts
        if n
    )
    keys = "".join(
        f"<span class='key'><i class='{style}'></i>{text(words)} <b>{n:,}</b>"
        f" <small>{percent(n / total, 1)}</small></span>"
        for style, words, n in parts
        if n
    )
    return f"<div class='bar tall'>{bars}</div><div class='legend'>{keys}</div>"


def left(space: Mapping[str, int]) -> int:
    """Strategies that are neither invalid, nor out of memory, nor too slow, nor pruned, nor solved."""
    decided = ("invalid", "out_of_memory", "too_slow", "pruned_by_bound", "solved")
    return max(0, space["strategies"] - sum(space.get(name, 0) for name in decided))


def _counts(space: Mapping[str, int], field: str) -> int:
    return left(space) if field == "open" else space.get(field, 0)


def reason_table(document: Document) -> str:
    """The reasons why strategies are out, with how often each was met."""
    found = Counter(
        (point["state"], point["reason"])
        for point in document["points"]
        if point.get("reason") and point["state"] in WITHOUT
    )
    if not found:
        return ""
    rows = [
        f"<tr><th scope='row'>{text(state)}</th><td>{n:,}</td><td class='names'>{text(reason, 300)}</td></tr>"
        for (state, reason), n in found.most_common(REASONS_AT_MOST)
    ]
    more = len(found) - len(rows)
    rest = f"<p class='note'>and {more:,} further reasons</p>" if more > 0 else ""
    listed = table("reasons", ["state", "strategies", "why"], rows)
    return f"<details><summary>why strategies are out</summary>{listed}{rest}</details>"


def assumptions(document: Document) -> str:
    """What the answer rests on."""
    items = "".join(f"<li>{text(each)}</li>" for each in document.get("assumptions") or ())
    return f"<ul>{items}</ul>" if items else "<p>None are named.</p>"


def posed(document: Document) -> str:
    """The question, in a line."""
    parts = [
        "training",
        f"{document['gpus']} GPUs",
        f"global batch {document['global_batch']:,}",
        f"sequence {document['sequence']:,}",
        f"runtime {document['runtime']}",
        f"schedules {document['schedules']}",
        str(document["precision"]),
    ]
    return text(" · ".join(parts))


def proven(document: Document) -> str:
    """The gap, in words."""
    value: float | None = document.get("gap")
    return percent(value) if value is not None and value >= 1e-4 else gap(value)


def counted(value: float | None) -> str:
    """A rate, or a dash."""
    return "-" if value is None else count(value)


def _cells(*values: str) -> list[str]:
    return [cell(value) for value in values]
