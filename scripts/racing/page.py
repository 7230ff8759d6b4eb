"""The page of results: the method, a table for each group, and the cases that planner loses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from racing.general import GROUPS
from racing.measure import SAME, best, geometric_mean, losses, proof, ratio, reached, shortfalls, strongest

HEAD = (
    "| case | ours | bound | gap | to best | total | status | CP-SAT | its bound | to best "
    "| big-M | heuristics | times faster | behind |\n" + "|---|" + "--:|" * 5 + "---|" + "--:|" * 6 + "---|\n"
)

GENERAL = (
    "| case | ours | bound | to best | proven after | CP-SAT | its bound | to best | proven after | CP-SAT is ahead |\n"
    + "|---|"
    + "--:|" * 8
    + "---|\n"
)

GENERAL_METHOD = """
Small problems of every shape: memory, transfers, both streams, mixed devices, exclusive transfers, one or two copies
(`scripts/racing/general.py` draws them from seeds). Here CP-SAT solves the whole problem: optional intervals by device,
so that it chooses the devices of every copy, the split of microbatches, order and times. Both have one thread and
{limit} s. `proven after`: seconds until plan and bound meet, or until it is proven that no plan exists
(`none` in the column of the plan). `-`: not proven. These cases are not in the picture above.
"""

JOB_SHOP = "job shop"
"""A group of its own, not in the mean."""

LONG_STEPS = ("unit-8x20", "unit-8x200", "unit-8x2000")
"""Cases of our own that differ in their microbatches."""

METHOD = """\
How to read it:

- Every racer is a process of its own, one after the other on an otherwise idle machine. Times are seconds of wall clock
  from before the start of the process, so they include start-up, imports and model building.
- **ours**: `planner solve` with the case's flags and `--time-limit {limit}`. A plan counts when the search reports it.
  `bound` is `lower_bound`: it holds for every placement that the flags allow.
- **CP-SAT** (OR-Tools, {limit} s, 2 workers): an interval a task, no overlap on streams and channels, precedences,
  memory as a cumulative from the start of a forward pass to the end of the last pass that needs it. `+` marks the
  variant with constraints that keep the microbatches of a copy in order, if it was raced too and did better.
- **big-M** (HiGHS, {bigm} s, 2 threads): a binary for the order of each pair, M from heads, tails and a greedy
  schedule, from which the solver also starts. `-`: see the end of the page.
- **heuristics**: the baselines that fit, and list scheduling by the known rules on the usual placements. No
  MIP, no random search.
- Rivals are given a placement: with two copies DualPipe's, half of the microbatches each way, else a stage a device,
  or the V. Their bounds hold for that placement only. In job shops they choose the machines. Their plans are verified
  by the code that verifies ours.
- **times faster**: CP-SAT's time to its best plan over our time to one as short. `<`: we have no such plan, and our
  time counts as the limit; `>`: CP-SAT has no plan, and its time counts as the limit.
- **behind**: in words, how CP-SAT was ahead at some time.
- Transfers of {transfer} s are latency; stages have 1 B of parameters and 1 B of activation, which is held until W.
  Measured stages: one copy, `--layout linear`, memory for p (`1p`) or 2 p activations. In unit cases a device has
  memory for two stages and P + 1 activations, in `room8` to `room5` for 8 to 5 activations.
"""


def number(value: float | None) -> str:
    """Six digits; a dash for nothing."""
    return "-" if value is None else f"{value:.6g}"


def row(name: str, runs: dict[str, Any]) -> str:
    """The line of a case."""
    ours, theirs, found = runs.get("ours") or {}, strongest(runs), None
    mine = ours.get("makespan")
    bound = ours.get("lower_bound")
    cells = [
        name,
        number(mine),
        number(bound),
        "-" if not mine or bound is None else f"{(mine - bound) / mine:.2%}",
        seconds(ours),
        f"{ours['seconds']:.1f}" if ours else "-",
        ours.get("status", "-"),
        "-",
        "-",
        "-",
    ]
    if theirs is not None:
        mark = " +" if theirs is runs.get("cpsat-ordered") else ""
        bounds = theirs["bounds"]
        cells[7:] = [number(best(theirs)) + mark, number(bounds[-1][1] if bounds else None), seconds(theirs)]
        found = ratio(ours, theirs) if ours else None
    cells += [number(best(runs.get("bigm"))), number(best(runs.get("heuristics")))]
    cells += ["-" if found is None else str(found), "; ".join(losses(runs))]
    return "| " + " | ".join(cells) + " |\n"


def seconds(run: dict[str, Any]) -> str:
    """The time of the best plan."""
    return f"{run['incumbents'][-1][0]:.1f}" if run and run["incumbents"] else "-"


def means(cases: list[dict[str, Any]]) -> Iterator[str]:
    """The geometric mean of all pipelines, and of each group; job shops apart."""
    ratios: dict[str, list[float]] = {}
    for case in cases:
        theirs = strongest(case["runs"])
        found = ratio(case["runs"]["ours"], theirs) if theirs and "ours" in case["runs"] else None
        if found is not None:
            ratios.setdefault(case["group"], []).append(found.value)
    shops = ratios.pop(JOB_SHOP, [])
    every = geometric_mean(v for group in ratios.values() for v in group)
    if every is not None:
        count = sum(map(len, ratios.values()))
        faster = f"**{every:.3g} times faster** to CP-SAT's quality"
        yield f"{faster} in the geometric mean of {count} pipelines. By group:\n\n"
        yield "".join(f"- {group}: {geometric_mean(v) or 0:.3g} ({len(v)} cases)\n" for group, v in ratios.items())
    if shops:
        runs = [case["runs"] for case in cases if case["group"] == JOB_SHOP]
        ours, theirs = (sum(_proven(each.get(racer)) for each in runs) for racer in ("ours", "cpsat"))
        yield (
            f"\nJob shops, which are no neural networks, stand apart: {geometric_mean(shops) or 0:.3g} "
            f"({len(shops)} cases). To planner they are a case of its exact decomposition, and it proves {ours} of "
            f"{len(runs)}; CP-SAT proves {theirs}.\n"
        )


def general_row(name: str, runs: dict[str, Any]) -> str:
    """The line of a general problem."""
    cells = [name]
    for racer in ("ours", "cpsat"):
        run = runs.get(racer) or {"incumbents": [], "bounds": []}
        bound = run.get("lower_bound", run["bounds"][-1][1] if run["bounds"] else None)
        impossible, makespan, proven = run.get("status") == "infeasible", best(run), proof(run)
        cells.append("none" if impossible else number(makespan))
        cells.append("-" if impossible else number(bound))
        cells.append("-" if makespan is None else f"{reached(run['incumbents'], makespan):.1f}")
        cells.append("-" if proven is None else f"{proven:.1f}")
    return "| " + " | ".join([*cells, "; ".join(shortfalls(runs.get("ours"), runs.get("cpsat")))]) + " |\n"


def general_section(cases: list[dict[str, Any]]) -> Iterator[str]:
    """All general problems: who proves how many, who has the shorter plans, and the tables."""
    found = [case for case in cases if {"ours", "cpsat"} <= case["runs"].keys()]
    if not found:
        return
    limits = " or ".join(f"{s:g}" for s in sorted({run["limit"] for case in found for run in case["runs"].values()}))
    yield f"\n## General problems\n{GENERAL_METHOD.format(limit=limits)}\n"
    yield "| | cases | ours proven | CP-SAT proven | ours shorter | CP-SAT shorter | proof, ours | proof, CP-SAT |\n"
    yield "|---|" + "--:|" * 7 + "\n"
    for group in GROUPS:
        yield _summary(group.removeprefix("general: "), [c["runs"] for c in found if c["group"] == group])
    yield _summary("all", [case["runs"] for case in found])
    yield "\nThe last two columns: seconds to the proof where both prove, geometric mean.\n\n"
    yield _ahead([case["runs"] for case in found])
    for group in GROUPS:
        those = [case for case in found if case["group"] == group]
        if those:
            yield f"\n### {group.removeprefix('general: ').capitalize()}\n\n{GENERAL}"
            yield "".join(general_row(case["name"], case["runs"]) for case in those)


def _summary(name: str, runs: list[dict[str, Any]]) -> str:
    """The line of a group."""
    proofs = [(proof(each["ours"]), proof(each["cpsat"])) for each in runs]
    both = [(a, b) for a, b in proofs if a is not None and b is not None]
    makespans = [(best(each["ours"]) or math.inf, best(each["cpsat"]) or math.inf) for each in runs]
    cells = [
        name,
        len(runs),
        *(sum(each[k] is not None for each in proofs) for k in (0, 1)),
        sum(a < b * (1 - SAME) for a, b in makespans),
        sum(b < a * (1 - SAME) for a, b in makespans),
        *(f"{mean:.2f}" if (mean := geometric_mean(each[k] for each in both)) else "-" for k in (0, 1)),
    ]
    return "| " + " | ".join(map(str, cells)) + " |\n"


def _ahead(runs: list[dict[str, Any]]) -> str:
    """One sentence that says where CP-SAT is ahead."""
    proofs = [(proof(each["ours"]), proof(each["cpsat"])) for each in runs]
    both = [(a, b) for a, b in proofs if a is not None and b is not None]
    sooner = sum(b < a for a, b in both)
    alone = sum(b is not None and a is None for a, b in proofs)
    shorter = sum((best(each["cpsat"]) or math.inf) < (best(each["ours"]) or math.inf) * (1 - SAME) for each in runs)
    return (
        f"**Where CP-SAT is ahead:** of {len(runs)} problems it has the shorter plan in {shorter}, alone has a proof\n"
        f"in {alone}, and has its proof sooner than planner in {sooner} of the {len(both)} that both prove.\n"
    )


def _proven(run: dict[str, Any] | None) -> bool:
    """Whether a run ends with a plan that meets its bound."""
    return proof(run) is not None


def growth(cases: list[dict[str, Any]]) -> str:
    """How the time of our whole command grows with the microbatches; empty if one of the cases was not run."""
    took = {case["name"]: case["runs"]["ours"]["seconds"] for case in cases if "ours" in case["runs"]}
    few, *many = LONG_STEPS
    if not took.keys() >= set(LONG_STEPS):
        return ""
    ratios = " and ".join(f"{name} takes {took[name] / took[few]:.2f} times" for name in many)
    return f"\nThe whole command for {ratios} as long as for {few}.\n"


def page(results: dict[str, Any], plot: str) -> str:
    """The whole page."""
    every = list(results["cases"].values())
    cases = [case for case in every if case["group"] not in GROUPS]
    groups = list(dict.fromkeys(case["group"] for case in cases))
    runs = [run for case in every for run in case["runs"].values()]
    whens = sorted(run["when"] for run in runs) or ["never"]
    commits = sorted({run["commit"] for run in runs})
    limits = {name: {c["runs"][name]["limit"] for c in cases if name in c["runs"]} for name in ("ours", "bigm")}
    limit, bigm = (" or ".join(f"{s:g}" for s in sorted(those)) or "-" for those in limits.values())
    changed = " (*: with changes that are not committed)" if any("*" in c for c in commits) else ""
    parts = [
        "# Race against CP-SAT, big-M and heuristics\n\n",
        "Written by `scripts/race.py` (part of `make bench`) from `race.json`; do not edit.\n\n",
        f"{whens[0]} to {whens[-1]}, commit {', '.join(commits)}{changed}. {results['machine']}\n\n",
        *means(cases),
        growth(cases),
        f"\n![Incumbent and bound over time]({plot})\n\n",
        METHOD.format(limit=limit, bigm=bigm, transfer=0.1),
    ]
    for group in groups:
        parts.append(f"\n## {group[0].upper() + group[1:]}\n\n{HEAD}")
        parts += [row(case["name"], case["runs"]) for case in cases if case["group"] == group]
    drawn = [case for case in every if case["group"] in GROUPS]
    parts += general_section(drawn)
    lost = [(case["name"], words) for case in cases if (words := losses(case["runs"]))]
    both = ((case["name"], case["runs"].get("ours"), case["runs"].get("cpsat")) for case in drawn)
    lost += [(name, words) for name, ours, theirs in both if (words := shortfalls(ours, theirs))]
    parts.append("\n## Where we lose\n\n")
    parts += [f"- {name}: {'; '.join(words)}\n" for name, words in lost] or ["Nowhere.\n"]
    troubled = [
        (case["name"], racer, run.get("reason") or f"no plan within {run['limit']:g} s")
        for case in every
        for racer, run in case["runs"].items()
        if not run["incumbents"] and run.get("status") != "infeasible"
    ]
    if troubled:
        parts.append("\n## Without a result\n\n")
        parts += [f"- {name}, {racer}: {reason}\n" for name, racer, reason in troubled]
    return "".join(parts)
