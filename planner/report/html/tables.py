"""The tables of the page as HTML. They also show without a script, and in print."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any

from planner.plan.plan import BaselineFigures, Figure, Plan, Throughput
from planner.report.facts import PlanFacts
from planner.report.html.data import CAUSES, PlanDrawing
from planner.report.memory import DeviceMemory
from planner.report.variants import Chosen, chosen_variants
from planner.report.words import (
    NONE,
    amount,
    count,
    cut,
    cut_inside,
    gap,
    names_in_brief,
    number,
    percent,
    plain,
    quotient,
    seconds,
    size,
)

IDLE_CLASSES = ("input", "comm", "transfer", "memory", "held", "nothing", "reduce", "exchange", "gather")
"""Style classes of the causes, in the order of ``CAUSES``."""


TEXTS = ("operators", "variants", "parameters, and activations by stage", "what became of it", "why")
"""Heads of columns that hold words."""


def text(value: str, longest: int | None = None) -> str:
    """Text of a file as HTML, with markup escaped and control characters replaced."""
    value = plain(value)
    return html.escape(value if longest is None else cut(value, longest), quote=True)


def tiles(plan: Plan, facts: PlanFacts) -> str:
    """The main figures."""
    bound = "none computed" if plan.lower_bound is None else f"gap {gap(plan.gap)}"
    rows = [
        ("makespan", seconds(plan.makespan), f"{plan.microbatches} microbatch{'' if plan.microbatches == 1 else 'es'}"),
        ("status", plan.status, f"objective: {plan.objective}"),
        ("lower bound", seconds(plan.lower_bound), bound),
        ("bubble", percent(plan.bubble_ratio), f"span bubble {percent(facts.span_bubble_ratio)}"),
        ("peak memory", size(facts.peak_memory), "over the cap" if facts.over_cap else "on the fullest device"),
        ("throughput", _throughput(facts), "microbatches a second"),
        *_tokens(plan.throughput),
        *_runtime(plan),
        *_after(facts),
        *map(_sought, plan.figures),
    ]
    return boxes(rows)


def boxes(rows: Iterable[tuple[str, str, str]]) -> str:
    """Figures as tiles: the name of each, its value, and what else there is to say."""
    return "".join(
        f"<div class='tile'><span>{text(name)}</span><b>{text(value)}</b><small>{text(more)}</small></div>"
        for name, value, more in rows
    )


def _runtime(plan: Plan) -> list[tuple[str, str, str]]:
    """The runtime of a plan, and what a better one would be worth."""
    free = plan.unrestricted
    if free is None:
        return []
    return [("runtime", str(plan.options.get("runtime")), f"{seconds(free.makespan)} without its limits")]


def _tokens(throughput: Throughput | None) -> list[tuple[str, str, str]]:
    """The step in tokens, where the graph says how many it has."""
    if throughput is None:
        return []
    gpus, each = throughput.gpus, count(throughput.tokens_per_second_per_gpu)
    rows = [("tokens/s/GPU", each, f"{count(throughput.tokens_per_second)} tokens/s on {gpus} GPU{'s' * (gpus > 1)}")]
    if throughput.mfu is not None:
        rows.append(("MFU", percent(throughput.mfu), "of the peak FLOP/s"))
    return rows


def _after(facts: PlanFacts) -> list[tuple[str, str, str]]:
    """What comes once a step, where there is any."""
    step = facts.whole_step
    if step is None:
        return []
    parts = ", ".join(f"{part} {seconds(value, 4)}" for part, value in step.exposed.items() if value > 0)
    return [("after the last microbatch", seconds(step.after), parts or "reduction, optimizer and gathering hide")]


def _sought(figure: Figure) -> tuple[str, str, str]:
    """A tile that only plans of some objectives have."""
    bound = f"lower bound {amount(figure.bound, figure.unit)}, gap {gap(figure.gap)}"
    shown = "no bound computed" if figure.bound is None else bound
    return (figure.kind.title, amount(figure.value, figure.unit), f"{figure.kind.meaning}; {shown}")


def _throughput(facts: PlanFacts) -> str:
    return NONE if facts.throughput is None else number(facts.throughput)


def device_table(drawing: PlanDrawing, facts: PlanFacts) -> str:
    """Bubble, idle time by cause and memory of every device, and their sums."""
    plan, idle_seconds = drawing.plan, drawing.idle_seconds()
    shown = [k for k in range(len(CAUSES)) if idle_seconds[:, k].any()]
    varied = {each.device: each for each in chosen_variants(plan, drawing.problem)}
    heads = ["device", "operators", *(["variants"] if varied else []), "busy", "bubble", "span bubble"]
    heads += [CAUSES[k].value for k in shown] + ["", "peak memory", "of cap"]
    number_of = {name: k for k, name in enumerate(drawing.events.nodes.devices)}
    everything = list(dict.fromkeys(placed.operator for placed in plan.placement))
    rows = []
    for device in plan.devices:
        idle = idle_seconds[number_of[device.name]]
        ratio = device.bubble / plan.makespan if plan.makespan > 0 else 0.0
        names = names_in_brief(facts.operators_of[device.name], everything)
        cells = [
            f"<th scope='row'>{_device(device.name)}</th>",
            f"<td class='names'>{text(names, 160) or 'none'}</td>",
            *([_variants(varied.get(device.name))] if varied else []),
            cell(seconds(device.busy)),
            cell(seconds(device.bubble), percent(ratio)),
            cell(seconds(device.span_bubble)),
            *(cell(seconds(float(idle[k])) if idle[k] > 0 else "") for k in shown),
            f"<td class='share'>{_shares(device.busy, idle.tolist(), plan.makespan)}</td>",
            cell(size(device.peak_memory), f"at {seconds(device.peak_memory_at)}"),
            f"<td class='share'>{_filled(device.peak_memory, device.memory)}</td>",
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    sums = [cell(percent(float(idle_seconds[:, k].sum()) / _total(plan))) for k in shown]
    across = 4 if varied else 3
    foot = f"<th scope='row' colspan='{across}'>of all devices x makespan</th>"
    foot += f"{cell(percent(plan.bubble_ratio_all))}<td></td>"
    return table("devices", heads, rows, f"<tr>{foot}{''.join(sums)}<td colspan='3'></td></tr>")


def _variants(chosen: Chosen | None) -> str:
    """What a device runs in other variants than base, with what that frees and costs, where it is known."""
    if chosen is None:
        return "<td class='names'>base</td>"
    gains = f"<small>{text(chosen.gains)}</small>" if chosen.gains else ""
    return f"<td class='names'>{text(chosen.words, 160)}{gains}</td>"


def peak_table(devices: Sequence[DeviceMemory]) -> str:
    """What each device holds when it is fullest, by cause, in the colours of the chart above it."""
    rows = []
    for device in devices:
        at, held = device.at_peak()
        parts = [("parameters", "parameters", device.parameters)]
        parts += [(f"s{s}", name, held[s]) for s, name in enumerate(device.stages)]
        causes = "".join(
            f"<span class='key'><i class='{style}'></i>{text(name, 80)} {text(size(value))}</span> "
            for style, name, value in parts
            if value > 0
        )
        rows.append(
            f"<tr><th scope='row'>{_device(device.name)}</th>{cell(size(device.parameters + sum(held)))}"
            f"{cell(seconds(at))}<td class='names causes'>{causes}</td></tr>"
        )
    return table("peaks", ["device", "peak memory", "at", "parameters, and activations by stage"], rows)


def _total(plan: Plan) -> float:
    return len(plan.devices) * plan.makespan or 1.0


def _device(name: str) -> str:
    return text(cut_inside(plain(name), 60))


def cell(value: str, below: str = "") -> str:
    """A cell with a figure, and a smaller one under it."""
    return f"<td>{text(value)}{f'<small>{text(below)}</small>' if below else ''}</td>"


def table(name: str, heads: Sequence[str], rows: Sequence[str], foot: str = "") -> str:
    """A table in a box of its own, in which it scrolls sideways where the page is narrower."""
    left = dict.fromkeys(TEXTS, " class='names'")
    head = "".join(f"<th scope='col'{left.get(each, '')}>{text(each)}</th>" for each in heads)
    foot = f"<tfoot>{foot}</tfoot>" if foot else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>{foot}"
    return (
        f"<div class='wide' tabindex='0' role='region' aria-label='{name}'><table class='{name}'>{body}</table></div>"
    )


def _shares(busy: float, idle: Sequence[float], makespan: float) -> str:
    """A bar of what the compute stream does: work, then idle time by cause."""
    parts = [("busy", "busy", busy), *zip(IDLE_CLASSES, (cause.value for cause in CAUSES), idle, strict=True)]
    bars = "".join(
        f"<i class='{name}' style='width:{100 * value / makespan:.3f}%' title='{text(words)}: {seconds(value)}'></i>"
        for name, words, value in parts
        if value > 0 and makespan > 0
    )
    return f"<div class='bar'>{bars}</div>"


def _filled(peak: float, cap: float | None) -> str:
    """How full a device gets."""
    if cap is None or cap <= 0:
        return "no cap"
    over = " over" if peak > cap * (1 + 4e-12) else ""
    width = min(100.0, 100 * peak / cap)
    words = text(f"{percent(peak / cap)} of {size(cap)}")
    return f"<div class='bar'><i class='memory-use{over}' style='width:{width:.2f}%'></i></div><small>{words}</small>"


def baseline_table(plan: Plan, facts: PlanFacts) -> str:
    """Makespans as bars, with the figures that the plan holds of the baselines."""
    if not plan.baselines:
        return "<p>The plan names no baselines.</p>"
    longest = max([plan.makespan, *(b.makespan or 0.0 for b in plan.baselines)]) or 1.0
    own = BaselineFigures(
        "this plan",
        plan.makespan,
        plan.bubble_ratio,
        facts.span_bubble_ratio,
        facts.peak_memory,
        plan.copies,
        not facts.over_cap,
    )
    rows = [_baseline_row(each, plan, longest) for each in (own, *plan.baselines)]
    heads = ["schedule", "", "makespan", "plan / it", "bubble", "span bubble", "peak memory", "copies", "fits"]
    return table("baselines", heads, rows)


def _baseline_row(each: BaselineFigures, plan: Plan, longest: float) -> str:
    few = each.devices is not None and each.devices < len(plan.devices)
    where = f" <small>{each.devices} of {len(plan.devices)} devices</small>" if few else ""
    variant = "" if each.variant is None else f" <small>{text(each.variant, 40)}</small>"
    name = f"<th scope='row'>{text(each.name, 60)}{variant}{where}</th>"
    if each.makespan is None:
        return f"<tr>{name}<td class='names' colspan='8'>{text(each.reason or 'not known', 300)}</td></tr>"
    own = each.name == "this plan"
    mark = ""
    if plan.lower_bound is not None and own:
        mark = f"<u style='left:{100 * plan.lower_bound / longest:.3f}%' title='lower bound'></u>"
    bar = f"<i class='{'own' if own else 'other'}' style='width:{100 * each.makespan / longest:.3f}%'></i>{mark}"
    fits = NONE if each.fits is None else "yes" if each.fits else "over cap"
    cells = [
        f"<td class='share long'><div class='bar'>{bar}</div></td>",
        *(cell(v) for v in (seconds(each.makespan), NONE if own else quotient(plan.makespan, each.makespan))),
        *(cell(percent(v)) for v in (each.bubble_ratio, each.span_bubble_ratio)),
        *(cell(v) for v in (size(each.peak_memory), NONE if each.copies is None else str(each.copies), fits)),
    ]
    return f"<tr class='{'own' if own else ''}'>{name}{''.join(cells)}</tr>"


def inputs_table(plan: Plan) -> str:
    """Files, flags, and how the plan was found."""
    rows = [
        ("graph", f"{plan.graph.name}, sha256 {plan.graph.sha256}"),
        ("cluster", f"{plan.cluster.name}, sha256 {plan.cluster.sha256}"),
        ("origin", plan.origin),
        ("planner", f"{plan.planner_version}, solved in {seconds(plan.solve_seconds, 3)}"),
        ("placement bound", seconds(plan.placement_lower_bound)),
        *(("how" if k == 0 else "", note) for k, note in enumerate(plan.notes)),
    ]
    if plan.window is not None:
        repeats = f"from {seconds(plan.window.start)} every {seconds(plan.window.length)}"
        rows.append(("steady state", f"repeats {repeats}, {plan.window.microbatches} microbatches each time"))
    flags = [(f"--{name.replace('_', '-')}", _flag(value)) for name, value in plan.options.items()]
    return "".join(
        "<div class='wide'><table class='facts'><tbody>"
        + "".join(f"<tr><th scope='row'>{text(a, 80)}</th><td class='names'>{text(b, 600)}</td></tr>" for a, b in part)
        + "</tbody></table></div>"
        for part in (rows, flags)
        if part
    )


def _flag(value: Any) -> str:
    """The value of a flag as it is given on the command line."""
    if value is None:
        return "not given"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ",".join(value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
