"""``planner simulate``: how fragile a plan is, beside the baselines."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from planner.commands import flags as options
from planner.commands.common import ExitCode, emit, note, report_style
from planner.commands.names import baselines_named
from planner.commands.problem_of_plan import in_full, presentable, problem_of_plan, sound_times, stem
from planner.commands.replayed import chosen_baselines, replayed
from planner.files.errors import InputError, did_you_mean, shown
from planner.files.flag_values import UsageFault, ratio
from planner.plan.plan import Plan
from planner.problem import Problem
from planner.report.compare import different_problems
from planner.simulate import Disturbance, Outcome, plan_events, simulate
from planner.simulate.disturb import ANY
from planner.simulate.replays import NotReplayed
from planner.simulate.summary import Row, Simulation, simulation_document, simulation_text

SLOWEST = 1000.0


@dataclass(frozen=True)
class SimulateFlags:
    """Options of ``planner simulate``."""

    plans: Annotated[list[Path], typer.Argument(metavar="PLAN [PLAN...]", help="The plan; more to compare it with.")]
    jitter: Annotated[
        str, typer.Option(metavar="R", help="Standard deviation of each pass and transfer, relative to its length.")
    ] = "0.1"
    slow_device: Annotated[
        list[str] | None, typer.Option(metavar="NAME=X", help="Passes there take X times as long; repeatable.")
    ] = None
    slow_link: Annotated[
        list[str] | None, typer.Option(metavar="FROM:TO=X", help="Transfers take X times as long; * is any device.")
    ] = None
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="How many replays.")] = 1000
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, metavar="S", help="Seed of the disturbance.")] = 0
    graph: options.MaybePlanGraph = None
    cluster: options.MaybePlanCluster = None
    baselines: Annotated[
        str,
        typer.Option(metavar="A,B|all|none", help="Baselines beside it; all: those in the plan."),
    ] = "all"
    format: options.OutputFormat = options.Format.text


def run(flags: SimulateFlags) -> int:
    """Replay the first plan, beside the others and the baselines."""
    paths = flags.plans
    jitter = ratio("--jitter", flags.jitter)
    plans = [presentable(path) for path in paths]
    for path, plan in zip(paths, plans, strict=True):
        in_full(path, plan)
        sound_times(path, plan)
    different = different_problems(plans)
    if different:
        raise UsageFault(f"the plans are of different problems: {'; '.join(different)}")
    names = [device.name for device in plans[0].devices]
    disturbance = Disturbance(
        jitter, _slow_devices(flags.slow_device or (), names), _slow_links(flags.slow_link or (), names)
    )
    problems = [
        problem_of_plan(path, plan, flags.graph, flags.cluster) for path, plan in zip(paths, plans, strict=True)
    ]

    def replay(path: Path, plan: Plan, problem: Problem | None) -> Outcome:
        try:
            return simulate(plan_events(plan, problem), plan.makespan, disturbance, flags.runs, flags.seed)
        except NotReplayed as error:
            raise InputError(path, None, None, f"is no valid plan: {error}") from error

    labels = _labels(paths, plans)
    rows = [
        Row(label, plan.makespan, replay(path, plan, problem), _fits(plan), plan.origin != "solve")
        for label, path, plan, problem in zip(labels, paths, plans, problems, strict=True)
    ]
    wanted = baselines_named(flags.baselines)
    for name, baseline in _baselines(plans[0], problems[0], wanted, labels):
        if isinstance(baseline, Plan):
            outcome = replay(paths[0], baseline, problems[0])
            rows.append(Row(name, baseline.makespan, outcome, _fits(baseline), True))
        else:
            rows.append(baseline)
    count = plans[0].microbatches
    title = f"{plans[0].graph.name} on {plans[0].cluster.name}, {count} microbatch{'' if count == 1 else 'es'}"
    made = Simulation(title, rows, disturbance, flags.runs, flags.seed, problems[0] is not None)
    if flags.format is options.Format.json:
        emit(json.dumps(simulation_document(made), indent=1, allow_nan=False) + "\n")
    else:
        emit(simulation_text(made, *report_style()))
    return ExitCode.DONE


def _fits(plan: Plan) -> bool:
    return all(d.memory is None or d.peak_memory <= d.memory * (1 + 4e-12) for d in plan.devices)


def _labels(paths: Sequence[Path], plans: Sequence[Plan]) -> list[str]:
    """A label for each plan, all different: ``this plan``, the name of a baseline, or that of the file."""
    found: list[str] = []
    for k, (path, plan) in enumerate(zip(paths, plans, strict=True)):
        published = plan.origin.removeprefix("baseline:") if plan.origin.startswith("baseline:") else None
        label = published or ("this plan" if k == 0 else stem(path))
        found.append(label if label not in found else str(path))
    return found


def _baselines(
    plan: Plan, problem: Problem | None, wanted: set[str] | None, given: Sequence[str]
) -> Iterator[tuple[str, Plan | Row]]:
    """The baselines that the plan names or that are asked for, replayed where graph and cluster are given."""
    names = chosen_baselines(plan, wanted, given)
    if problem is not None:
        yield from replayed(names, problem)
        return
    figures = {b.name: b for b in plan.baselines}
    for name in names:
        known = figures.get(name)
        if known is None or known.makespan is None:
            note(f"{name}: the plan does not name its makespan; --graph and --cluster would give it")
        else:
            yield name, Row(name, known.makespan, None, known.fits)


def _slow_devices(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for text in texts:
        name, factor = _named_factor("--slow-device", text, "gpu0=1.2")
        _known("--slow-device", name, names)
        found[name] = found.get(name, 1.0) * factor
    return found


def _slow_links(texts: Sequence[str], names: Sequence[str]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for text in texts:
        link, factor = _named_factor("--slow-link", text, "gpu0:gpu1=1.5")
        source, colon, target = link.partition(":")
        if not colon:
            raise UsageFault(
                f"--slow-link must be FROM:TO=FACTOR such as gpu0:gpu1=1.5 or *:gpu1=1.5; got {shown(text)}"
            )
        for name in {source, target} - {ANY}:
            _known("--slow-link", name, names)
        found[source, target] = found.get((source, target), 1.0) * factor
    return found


def _named_factor(flag: str, text: str, example: str) -> tuple[str, float]:
    name, equals, number = text.rpartition("=")
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if not equals or not 1 / SLOWEST <= factor <= SLOWEST:
        raise UsageFault(
            f"{flag} must be a name and a factor from {1 / SLOWEST:g} to {SLOWEST:g} such as {example}; "
            f"got {shown(text)}"
        )
    return name, factor


def _known(flag: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise UsageFault(f"{flag}: the plan has no device {shown(name)}; {did_you_mean(name, names)}")
