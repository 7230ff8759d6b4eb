"""The report of one plan as text."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from planner.plan.plan import BaselineFigures, Figure, Plan, PlanRepetition, PlanWindow, Throughput, Unrestricted
from planner.problem import Problem
from planner.report.chart import chart
from planner.report.excerpt import excerpt, excerpt_note
from planner.report.facts import PlanFacts
from planner.report.step import step_lines
from planner.report.tables import pairs, rendered, table
from planner.report.variants import variant_lines
from planner.report.words import (
    NONE,
    amount,
    count,
    cut,
    gap,
    names_in_brief,
    number,
    percent,
    plain,
    quotient,
    seconds,
    size,
    size_unit,
    time_unit,
)

DEVICES_AT_MOST = 64
"""Rows of the table of devices; the rest is in the file."""


def report_text(plan: Plan, width: int = 100, color: bool = False, problem: Problem | None = None) -> str:
    """The whole report: summary, devices, baselines, chart, and what the figures mean.

    With the problem that the plan is valid for, it says what the choice of variants frees and costs.
    """
    facts = PlanFacts(plan)
    summary = pairs(_summary(plan, facts, problem))
    parts: list[RenderableType] = [Text(_title(plan), style="bold"), Text(), summary, Text()]
    parts += [_devices(plan, facts), *_more_devices(plan), Text()]
    if plan.baselines:
        parts += [_baselines(plan, facts), *_baseline_remarks(plan), Text()]
    drawn = excerpt(plan)
    lines = chart(drawn, facts if drawn is plan else PlanFacts(drawn), width)
    parts += [*lines, *_excerpt_remark(plan), Text()] if lines else []
    parts += [Text(line, style="dim") for line in _meaning(plan)]
    return rendered(parts, width, color)


def _title(plan: Plan) -> str:
    origin = "plan" if plan.origin == "solve" else plan.origin.replace(":", " ", 1)
    return plain(f"{origin} of {plan.graph.name} on {plan.cluster.name}")


def _summary(plan: Plan, facts: PlanFacts, problem: Problem | None) -> list[tuple[str, str]]:
    bounded = plan.lower_bound is not None
    throughput = NONE if facts.throughput is None else f"{number(facts.throughput)} microbatches/s"
    working, everywhere = len(facts.working), len(plan.devices)
    all_devices = f"; {percent(plan.bubble_ratio_all)} over all {everywhere}" if working < everywhere else ""
    rows = [
        ("makespan", f"{seconds(plan.makespan)} for {_count(plan.microbatches, 'microbatch', 'microbatches')}"),
        ("throughput", throughput),
        *_tokens(plan.throughput),
        ("status", _status(plan)),
        ("lower bound", f"{seconds(plan.lower_bound)}, gap {gap(plan.gap)}" if bounded else "none computed"),
        ("placement bound", seconds(plan.placement_lower_bound) if bounded else "none computed"),
        ("bubble", f"{percent(plan.bubble_ratio)} of {_count(working, 'device', 'devices')} x makespan{all_devices}"),
        ("span bubble", f"{percent(facts.span_bubble_ratio)}, between each device's own first start and last end"),
        ("copies", _copies(plan, facts)),
        ("peak memory", _peak(facts)),
    ]
    rows += [("whole step" if k == 0 else "", line) for k, line in enumerate(step_lines(plan))]
    rows += [("variants" if k == 0 else "", line) for k, line in enumerate(variant_lines(plan, problem))]
    if plan.unrestricted is not None:
        rows.append(("runtime", _runtime(plan, plan.unrestricted)))
    rows += [(figure.kind.title, _sought(figure)) for figure in plan.figures if figure.value is not None]
    if plan.window is not None:
        rows.append(("steady state", _window(plan.window)))
    if plan.repeated is not None:
        rows.append(("steady state", _repeated(plan.repeated)))
    rows += [("how" if i == 0 else "", plain(note)) for i, note in enumerate(plan.notes)]
    rows.append(("took", f"{seconds(plan.solve_seconds, 3)}, planner {plain(plan.planner_version)}"))
    return rows


def _runtime(plan: Plan, free: Unrestricted) -> str:
    """The plan of a runtime beside what no runtime limits."""
    worth = 1 - free.makespan / plan.makespan if plan.makespan > 0 else 0.0
    most = 1 - free.lower_bound / plan.makespan if plan.makespan > 0 else 0.0
    return (
        f"{plain(str(plan.options.get('runtime')))}; without its limits {seconds(free.makespan)} (bound "
        f"{seconds(free.lower_bound)}): a better runtime would be worth {percent(worth)}, at most {percent(most)}"
    )


def _tokens(throughput: Throughput | None) -> list[tuple[str, str]]:
    """The step in tokens, where the graph says how many it has."""
    if throughput is None:
        return []
    each = f"{count(throughput.tokens_per_second_per_gpu)} on each of {_count(throughput.gpus, 'GPU', 'GPUs')}"
    rows = [("", f"{count(throughput.tokens_per_second)} tokens/s, {each}; {throughput.tokens:,} tokens a step")]
    if throughput.mfu is not None:
        rows.append(("MFU", f"{percent(throughput.mfu)} of the peak FLOP/s, recomputation not counted"))
    return rows


def _sought(figure: Figure) -> str:
    bounded = f", lower bound {amount(figure.bound, figure.unit)}, gap {gap(figure.gap)}"
    words = f"{amount(figure.value, figure.unit)} {figure.kind.meaning}"
    return words if figure.bound is None else words + bounded


def _status(plan: Plan) -> str:
    if plan.status == "optimal":
        return "optimal (no plan that graph, cluster and flags allow is shorter by more than the gap)"
    if plan.status == "interrupted":
        return "interrupted by a signal: the best plan until then"
    return "feasible" if plan.lower_bound is None else "feasible (valid; not proven to be the shortest)"


def _copies(plan: Plan, facts: PlanFacts) -> str:
    if plan.copies == 1:
        return "1"
    sets = number(facts.parameter_sets, 3)
    return f"{plan.copies}; an operator's parameters lie on {sets} devices on average"


def _window(window: PlanWindow) -> str:
    passing = _count(window.microbatches, "microbatch", "microbatches")
    return f"repeats from {seconds(window.start)} every {seconds(window.length)}, {passing} (for more: planner stretch)"


def _repeated(repeated: PlanRepetition) -> str:
    passing = _count(repeated.microbatches, "microbatch", "microbatches")
    return (
        f"from {seconds(repeated.start)}, {seconds(repeated.length)} long, {passing}: listed once, runs "
        f"{repeated.times} times more"
    )


def _excerpt_remark(plan: Plan) -> list[Text]:
    remark = excerpt_note(plan)
    return [] if remark is None else [Text(f"The step is {remark}.", style="dim")]


def _peak(facts: PlanFacts) -> str:
    text = size(facts.peak_memory) + " on the fullest device"
    if facts.over_cap:
        names = ", ".join(d.name for d in facts.over_cap[:4]) + (", ..." if len(facts.over_cap) > 4 else "")
        text += f"; exceeds the cap on {plain(names)}"
    return text


def _devices(plan: Plan, facts: PlanFacts) -> Table:
    """One row per device; the headings name one unit of time and one of memory for all rows."""
    capped = any(device.memory is not None for device in plan.devices)
    second, time_unit_ = time_unit(plan.makespan)
    byte, size_unit_ = size_unit(facts.peak_memory)
    columns = [("device", "left"), ("operators", "left")]
    columns += [(f"{name} {time_unit_}", "right") for name in ("busy", "bubble")]
    columns += [("bubble", "right"), (f"span bubble {time_unit_}", "right")]
    columns += [(f"peak {size_unit_}", "right"), (f"at {time_unit_}", "right")]
    columns += [(f"cap {size_unit_}", "right"), ("of cap", "right")] if capped else []
    made = table(columns)
    all_operators = list(dict.fromkeys(placed.operator for placed in plan.placement))
    for device in plan.devices[:DEVICES_AT_MOST]:
        ratio = device.bubble / plan.makespan if plan.makespan > 0 else 0.0
        operators = names_in_brief(facts.operators_of[device.name], all_operators)
        row = [plain(cut(device.name, 16)), cut(operators, 100) or "none"]
        row += [number(device.busy / second), number(device.bubble / second), percent(ratio)]
        row += [number(device.span_bubble / second)]
        row += [number(device.peak_memory / byte), number(device.peak_memory_at / second)]
        if capped:
            cap = NONE if device.memory is None else number(device.memory / byte)
            row += [cap, _of_cap(device.peak_memory, device.memory)]
        made.add_row(*map(Text, row))
    return made


def _more_devices(plan: Plan) -> list[Text]:
    more = len(plan.devices) - DEVICES_AT_MOST
    return [Text(f"... and {more} more devices, which the plan file holds", style="dim")] if more > 0 else []


def _of_cap(peak: float, cap: float | None) -> str:
    if cap is None:
        return NONE
    return f"{peak / cap:.1%}".replace("%", " %") if cap > 0 else NONE


def _baselines(plan: Plan, facts: PlanFacts) -> Table:
    columns = [("schedule", "left")]
    headings = ("makespan", "plan/it", "bubble", "plan/it", "span bubble", "peak memory", "copies")
    columns += [(name, "right") for name in headings]
    columns += [("fits", "left")]
    made = table(columns)
    own = ["this plan", seconds(plan.makespan), NONE]
    own += [percent(plan.bubble_ratio), NONE, percent(facts.span_bubble_ratio), size(facts.peak_memory)]
    own += [str(plan.copies), "over cap" if facts.over_cap else "yes"]
    made.add_row(*(Text(cell, style="bold") for cell in own))
    for b in plan.baselines:
        if b.makespan is None:
            made.add_row(*map(Text, [plain(b.name), *[NONE] * 7, "see below"]))
            continue
        row = [_baseline_name(plan, b), seconds(b.makespan), quotient(plan.makespan, b.makespan)]
        row += [percent(b.bubble_ratio), quotient(plan.bubble_ratio, b.bubble_ratio), percent(b.span_bubble_ratio)]
        row += [size(b.peak_memory), NONE if b.copies is None else str(b.copies)]
        row.append(NONE if b.fits is None else "yes" if b.fits else "over cap")
        made.add_row(*map(Text, row))
    return made


def _baseline_name(plan: Plan, baseline: BaselineFigures) -> str:
    """The name, its variant and, if it leaves devices idle, how many it uses: the comparison is less fair then."""
    few = baseline.devices is not None and baseline.devices < len(plan.devices)
    remarks = [] if baseline.variant is None else [f"({cut(plain(baseline.variant), 24)})"]
    remarks += [f"({baseline.devices} of {len(plan.devices)} devices)"] if few else []
    return "\n".join([plain(baseline.name), *remarks])


def _baseline_remarks(plan: Plan) -> list[Text]:
    return [Text(f"{plain(b.name)}: {plain(b.reason)}", style="dim") for b in plan.baselines if b.reason is not None]


def _meaning(plan: Plan) -> list[str]:
    lines = [
        "bubble: makespan minus the time in which a device's compute stream works; the ratio is over the devices that "
        "run a task. span bubble: the same within a device's own first start and last end, over the same total.",
        "A transfer or a task on the communication stream never counts as work. Memory is parameters plus what the "
        "microbatches in flight hold.",
    ]
    if plan.step_tasks or plan.exchanges:
        lines.append(
            "After the last microbatch each instant counts for the first part of the step that runs then anywhere: "
            "exchange, reduction, optimizer, gathering. The optimizer is work of its device, the others are not."
        )
    if any(b.variant is not None for b in plan.baselines):
        lines.append("In brackets: the variant of all operators that have it, of which the best that fits is shown.")
    if plan.baselines:
        lines.append(
            "Baselines are replayed on the same graph and cluster with the same pass times, transfers and "
            "rules of memory; 'plan/it' divides the plan's figure by theirs (bubbles as ratios). One "
            "that does not fit is over the memory cap and could not run."
        )
    return lines


def _count(value: int, one: str, many: str) -> str:
    return f"{value} {one if value == 1 else many}"
