"""An explanation as sentences and tables, the same for text and Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.events import Wait
from planner.explain.changes import NO_CAP
from planner.explain.explanation import SHORTER, Explanation, Tried
from planner.explain.levers import FASTER, Lever, Speedup
from planner.explain.path import COMPUTE, CriticalPath, Part
from planner.report.causes import Cause
from planner.report.words import NONE, apart, gap, number, percent, plain, seconds, size

ROWS = 12
"""Rows of a table of devices or of what may be faster; of more, those that matter most."""

EACH = 3
"""Of each kind of lever so many at most."""

IDLE = "Idle time, in percent of the step"
"""The heading of its section."""

WAITED = {
    Wait.INPUT: "a result on the same device",
    Wait.TRANSFER: "a transfer",
    Wait.ORDER: "their turn",
    Wait.MEMORY: "memory to be freed",
    Wait.HELD: "a rule of the schedule that graph and cluster do not show",
}


@dataclass(frozen=True)
class Section:
    """A heading, sentences, and a table: columns, of which the first is text and the others figures, and rows."""

    heading: str
    sentences: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def title_of(made: Explanation) -> str:
    """The plan in a line."""
    plan = made.plan
    count = f"{plan.microbatches} microbatch{'' if plan.microbatches == 1 else 'es'}"
    makespan, bound = apart(seconds, plan.makespan, plan.lower_bound)
    proven = "" if plan.lower_bound is None else f", bound {bound}, gap {gap(plan.gap)}"
    return f"{plain(plan.graph.name)} on {plain(plan.cluster.name)}, {count}: {makespan}{proven}"


def sections(made: Explanation) -> list[Section]:
    """All that is said about a plan."""
    found = [_path(made.path), _idle(made), _faster(made), _changes(made)]
    return [section for section in found if section is not None]


def _path(path: CriticalPath) -> Section:
    parts = sorted(path.parts.items(), key=lambda part: -part[1])
    shares = [f"{percent(s / path.makespan)} {part}" for part, s in parts if s > SHORTER * path.makespan]
    figures = [
        (path.share(*COMPUTE), "compute"),
        (path.share(Part.TRANSFER), "transfers"),
        (path.share(Part.COMM, Part.R, Part.G), "the communication stream"),
        (path.share(Part.NOTHING), "idle"),
    ]
    decides = [f"{percent(share)} {what}" for share, what in figures if share > SHORTER]
    sentences = [f"What decides the length of the step is {_and(decides)}."] if decides else []
    if len(shares) > 1:
        sentences.append(f"By kind: {', '.join(shares)}.")
    devices = sorted(((s, d) for d, s in path.devices.items() if s > 0), key=lambda one: (-one[0], one[1]))
    if devices:
        named = [f"{plain(d)} {percent(s / path.makespan)}" for s, d in devices[:EACH]]
        more = len(devices) - len(named)
        sentences.append(
            f"It runs on {len(devices)} device{'' if len(devices) == 1 else 's'}, longest on {', '.join(named)}"
            + (f" and {more} more." if more else ".")
        )
    links = sorted(((s, link) for link, s in path.links.items() if s > 0), reverse=True)
    if links:
        (s, (a, b)) = links[0]
        sentences.append(f"Of its links {plain(a)} -> {plain(b)} takes most: {seconds(s)}.")
    waits = [f"{n} for {WAITED[wait]}" for wait, n in sorted(path.waits.items(), key=lambda w: -w[1])]
    if waits:
        sentences.append(f"Of its {path.nodes} tasks and transfers, each starts as the wait ends: {', '.join(waits)}.")
    return Section("Critical path", [" ".join(sentences)])


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _idle(made: Explanation) -> Section:
    makespan = made.plan.makespan
    whole = makespan * len(made.idle)
    causes = [c for c in Cause if any(idle.get(c, 0.0) > SHORTER * makespan for idle in made.idle.values())]
    totals = {c: sum(idle.get(c, 0.0) for idle in made.idle.values()) for c in causes}
    if not causes or whole <= 0:
        return Section(IDLE, ["No compute stream is ever idle."])
    total = sum(totals.values())
    worst = max(made.idle, key=lambda d: sum(made.idle[d].values()))
    most = max(causes, key=lambda c: totals[c])
    sentences = [
        f"Compute streams are idle for {percent(total / whole)} of the time of all devices, most of it "
        f"{most} ({percent(totals[most] / total)} of the idle time). {plain(worst)} is idle longest: "
        f"{percent(sum(made.idle[worst].values()) / makespan)} of the step."
    ]
    order = list(made.idle)
    if len(order) > ROWS:
        order = sorted(order, key=lambda d: -sum(made.idle[d].values()))[:ROWS]
        sentences.append(f"The {ROWS} devices that are idle longest, and all {len(made.idle)}:")
    rows = [_idle_row(plain(d), made.idle[d], causes, makespan) for d in order]
    rows.append(_idle_row("all devices", totals, causes, whole))
    return Section(IDLE, sentences, ["device", "idle", *causes], rows)


def _idle_row(name: str, idle: Mapping[Cause, float], causes: Sequence[Cause], whole: float) -> list[str]:
    figures = [sum(idle.values()), *(idle.get(c, 0.0) for c in causes)]
    return [name, *(percent(f / whole) if f > SHORTER * whole else NONE for f in figures)]


def _faster(made: Explanation) -> Section:
    makespan = made.plan.makespan
    useful = [one for one in made.speedups if one.makespan < makespan * (1 - SHORTER)]
    heading = f"Speed up first: each made {FASTER * 100:.0f} % faster, the plan's order replayed"
    if not useful:
        return Section(heading, ["No operator, device or link on its own shortens the step: several limit it alike."])
    sentences = []
    for lever, what in ((Lever.OPERATORS, "kind of operator"), (Lever.OPERATOR, "operator"), (Lever.LINK, "link")):
        best = next((one for one in useful if one.lever is lever), None)
        if best is not None:
            sentences.append(
                f"The {what} to speed up first is {plain(best.name)}: {percent(FASTER, 0)} less time saves "
                f"{seconds(makespan - best.makespan)} ({percent(1 - best.makespan / makespan)})."
            )
    if not any(one.lever is Lever.LINK for one in useful):
        sentences.append("No faster link shortens the step.")
    rows = [
        [
            f"{one.lever} {plain(one.name)}",
            seconds(one.on_path),
            seconds(one.busy),
            apart(seconds, one.makespan, makespan)[0],
            _less(one.makespan, makespan),
        ]
        for one in _first_of_each(useful)
    ]
    return Section(heading, [" ".join(sentences)], ["faster", "on the path", "in all", "makespan", "gain"], rows)


def _first_of_each(useful: Sequence[Speedup]) -> Iterator[Speedup]:
    taken: dict[Lever, int] = {}
    for one in useful:
        taken[one.lever] = taken.get(one.lever, 0) + 1
        if taken[one.lever] <= EACH:
            yield one


def _less(makespan: float, other: float) -> str:
    """The gain over another makespan, in percent; longer ones are negative."""
    if abs(makespan - other) <= SHORTER * other or other <= 0:
        return "0 %"
    ratio = 1 - makespan / other
    return percent(ratio) if ratio > 0 else f"-{percent(-ratio)}"


def _changes(made: Explanation) -> Section:
    plan = made.plan
    rows = [["this plan", *_figures(plan.makespan, plan.lower_bound, plan.microbatches), NONE]]
    notes, reference = [], made.reference
    if reference is not None:
        rows.append([reference.title, *_cells(reference), _less_each(reference, plan.makespan / plan.microbatches)])
        if reference.reason is not None:
            notes.append(f"{reference.title}: {plain(reference.reason)}.")
    each = (reference and reference.per_microbatch) or plan.makespan / plan.microbatches
    for tried in (*made.changes, made.balanced):
        if tried.reason is not None:
            notes.append(f"{plain(tried.title)}: {plain(tried.reason)}.")
            continue
        from_ = plan.makespan / plan.microbatches if tried.replayed else each
        name = plain(tried.title) + (" (replayed)" if tried.replayed else "")
        rows.append([name, *_cells(tried), _less_each(tried, from_)])
    sentences = [_summary(made), _memory(made), *notes, *_how(made)]
    return Section(
        "What would help",
        [" ".join(filter(None, sentences))],
        ["change", "makespan", "bound", "a microbatch", "gain"],
        rows,
    )


def _cells(tried: Tried) -> list[str]:
    return [NONE] * 3 if tried.makespan is None else _figures(tried.makespan, tried.bound, tried.microbatches)


def _figures(makespan: float, bound: float | None, microbatches: int) -> list[str]:
    return [*apart(seconds, makespan, bound), seconds(makespan / microbatches)]


def _less_each(tried: Tried, each: float) -> str:
    return NONE if tried.per_microbatch is None else _less(tried.per_microbatch, each)


def _summary(made: Explanation) -> str:
    """The change of most gain a microbatch."""
    own = made.plan.makespan / made.plan.microbatches
    each = own if made.reference is None or made.reference.per_microbatch is None else made.reference.per_microbatch
    gains = [
        (1 - tried.per_microbatch / (own if tried.replayed else each), tried)
        for tried in (made.changes or [made.balanced])
        if tried.per_microbatch is not None and each > 0 and own > 0
    ]
    ratio, best = max(gains, key=lambda one: one[0], default=(0.0, made.balanced))
    found = ""
    if each < own * (1 - SHORTER):
        found = f"Planning again alone gains {percent(1 - each / own)}: solve with more time first. "
    if ratio <= SHORTER:
        if not made.effort:
            return ""
        return found + "None of the changes shortens the step."
    by = f" (solve {plain(' '.join(best.flags))})" if best.flags else ""
    return found + f"What helps most is {plain(best.title)}{by}: {percent(ratio)} less time a microbatch."


def _memory(made: Explanation) -> str:
    memory = made.memory
    if memory is None:
        lifted = next((tried for tried in made.changes if tried.key == NO_CAP), None)
        known = lifted is not None and lifted.makespan is not None
        return "With more memory no shorter plan was found." if known else ""
    gain = _less(memory.makespan, memory.shorter_than)
    return (
        f"The least memory that improves the plan: {number(memory.factor)} times the cap, {size(memory.cap)} on the "
        f"largest device, {size(memory.more)} more, for {seconds(memory.makespan)}, {gain} less; with "
        f"{number(memory.without)} times the cap no shorter plan was found."
    )


def _how(made: Explanation) -> list[str]:
    if not made.effort:
        return ["Nothing was planned again (--effort 0)."]
    again = made.reference
    if again is not None and again.makespan is not None and again.makespan > made.plan.makespan * (1 + SHORTER):
        limits = ["With these limits planning again found nothing as short as this plan: more would say more."]
    else:
        limits = []
    searched = [tried for tried in (made.reference, *made.changes) if tried is not None and tried.makespan is not None]
    cut = sum(tried.cut for tried in searched)
    if cut:
        limits.append(f"The time limit ended {cut} of {len(searched)} searches; --time-limit sets it.")
    return [
        f"Each row was planned with effort {made.effort}, from this plan's order where it applies; gains are against "
        "the row 'planned again', those of replays against this plan, a microbatch each.",
        *limits,
    ]
