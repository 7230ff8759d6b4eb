"""planner from Python: what ``import planner`` offers.

No function prints, ends the process or installs a signal handler. Errors are exceptions: ``InputError`` (a file
is missing or wrong), ``ValueError`` (an argument is; ``ProblemError`` where graph and cluster do not fit together),
``Impossible`` (it is proven that there is no plan), ``NoPlan`` (none was found within the limits), ``NotApplicable``
(a baseline does not fit the problem).

Amounts are numbers in base units (seconds, bytes) or strings with a unit, such as ``"20 GB"``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from inspect import signature
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.api_values import amount, at_least, degrees, executor_of, fraction, known_baseline, known_runtime, positive
from planner.baselines import BASELINES, SCHEDULES, NotApplicable
from planner.common.budget import Control
from planner.exporters import CannotExport, Exported
from planner.exporters.registry import EXPORTERS
from planner.files.cluster_file import read_cluster
from planner.files.errors import InputError, shown
from planner.files.flag_values import UsageFault
from planner.files.graph_file import MAX_MICROBATCHES, read_graph
from planner.objectives import registry
from planner.objectives.baseline import baseline_plan
from planner.objectives.certified import violations_of
from planner.objectives.options import NoPlan, SolveOptions
from planner.objectives.start import start_of
from planner.placement.layouts import check_layout
from planner.plan.plan import Plan, plan_to_json
from planner.prediction.outcome import Prediction
from planner.problem import Impossible, Problem, ProblemError
from planner.problem.quantities import BYTES
from planner.report.excerpt import not_in_full
from planner.runtimes.names import ANY
from planner.verification import Rule, Violation

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from planner.strategies.answer import Answer
    from planner.strategies.inference.best import Answer as Serving
    from planner.sweeping import Row

__all__ = [
    "CannotExport",
    "Exported",
    "Impossible",
    "InputError",
    "NoPlan",
    "NotApplicable",
    "Plan",
    "Prediction",
    "Problem",
    "ProblemError",
    "Rule",
    "Violation",
    "baseline",
    "export",
    "inference_strategy",
    "predict",
    "read_plan",
    "read_problem",
    "solve",
    "strategy",
    "sweep",
    "verify",
]


def read_problem(
    graph: Path | str,
    cluster: Path | str,
    *,
    microbatches: int | None = None,
    copies: int = 1,
    memory_cap: float | str | None = None,
    layout: str = "auto",
    chunks: int | None = None,
    variants: Sequence[str] | None = None,
) -> Problem:
    """The problem: graph.yaml, cluster.yaml and the options that say which plans are allowed.

    - ``microbatches`` in one step; default: the graph's
    - ``copies``: most copies of the operators; 2 allows bidirectional plans
    - ``memory_cap`` of every device; default: the cluster's
    - ``layout``: the placements allowed: auto (all), linear, interleaved, vshape, wave, bidirectional
    - ``chunks`` per device, for layouts that take them
    - ``variants``: names of the variants that operators may be in, ``"base"`` among them; default: all

    Raises ``InputError``, ``ValueError``, and ``Impossible`` where an operator has no device that may run it.
    """
    check_layout(layout, copies, chunks)
    cap = None if memory_cap is None else amount("memory_cap", memory_cap, BYTES)
    read, devices = read_graph(Path(graph)), read_cluster(Path(cluster))
    many = read.microbatches if microbatches is None else microbatches
    if many > MAX_MICROBATCHES:
        raise ValueError(f"microbatches must be at most {MAX_MICROBATCHES}")
    names = None if variants is None else tuple(dict.fromkeys(variants))
    return Problem(read, devices, many, copies, cap, layout, chunks, variants=names)


def solve(
    problem: Problem,
    *,
    time_limit: float | str | None = 60.0,
    effort: int | None = None,
    gap: float | str = 1e-6,
    seed: int = 0,
    threads: int | None = None,
    objective: str = "makespan",
    runtime: str = ANY,
    max_makespan: float | str | None = None,
    max_period: float | str | None = None,
    baselines: Sequence[str] = (),
    start: Plan | None = None,
) -> Plan:
    """The best plan that is found within the limits, verified, with a proven lower bound.

    Of a very long step its tasks list the steady state once; ``Plan.repeated`` says how often it runs.

    - ``time_limit``: seconds; None: no limit. A solver at work by then may take some seconds longer
    - ``effort``: schedules evaluated and branch-and-bound nodes; with ``time_limit=None``, the same plan on any machine
    - ``gap``: a plan is optimal where it is within this fraction of the bound
    - ``seed`` of the search
    - ``threads`` of the search; None: all cores, up to 8. They change how long it takes, not what a search finds that
      ends by itself or by ``effort``
    - ``objective``: makespan, memory, period or utilization, as ``planner solve --help`` says; ``max_makespan`` goes
      with memory and utilization, ``max_period`` with utilization
    - ``runtime``: a name of ``planner.runtimes.RUNTIMES``; plans that it can run, as it runs them, with
      ``Plan.unrestricted`` beside them
    - ``baselines``: names of baselines to compare with, in ``Plan.baselines``
    - ``start``: a plan to begin with, of these operators on these devices; with objective makespan, without a runtime

    Raises ``Impossible``, ``NoPlan`` and ``ValueError``.
    """
    options = _options(
        problem, time_limit, effort, gap, seed, threads, objective, runtime, max_makespan, max_period, baselines
    )
    if start is not None:
        if objective != "makespan" or runtime != ANY:
            raise ValueError("start goes with objective makespan and without a runtime")
        named = hashlib.sha256(plan_to_json(start).encode("utf-8")).hexdigest()
        options = replace(options, start=start_of(start, problem), flags={**options.flags, "start": named})
    limit = math.inf if time_limit is None else positive("time_limit", time_limit)
    control = Control(limit, effort=math.inf if effort is None else float(effort))
    return registry.solve(problem, control, options)


def _options(
    problem: Problem,
    time_limit: float | str | None = 60.0,
    effort: int | None = None,
    gap: float | str = 1e-6,
    seed: int = 0,
    threads: int | None = None,
    objective: str = "makespan",
    runtime: str = ANY,
    max_makespan: float | str | None = None,
    max_period: float | str | None = None,
    baselines: Sequence[str] = (),
) -> SolveOptions:
    """The options of ``solve``, checked."""
    limit = math.inf if time_limit is None else positive("time_limit", time_limit)
    at_least("effort", effort, 1)
    at_least("seed", seed, 0)
    at_least("threads", threads, 1)
    if objective not in registry.OBJECTIVES:
        raise ValueError(f"objective must be one of {', '.join(registry.OBJECTIVES)}; got {shown(objective)}")
    known_runtime(runtime)
    if runtime != ANY and objective != "makespan":
        raise ValueError(f"runtime {runtime} goes with objective makespan")
    limits = {"max_makespan": max_makespan, "max_period": max_period}
    given = {name: positive(name, value) for name, value in limits.items() if value is not None}
    for name in given:
        if name not in registry.OBJECTIVES[objective].options:
            raise ValueError(f"{name} goes with objective {' or '.join(registry.objectives_with(name))}")
    for name in baselines:
        known_baseline(name)
    return SolveOptions.of(
        problem,
        time_limit=limit,
        effort=effort,
        gap=fraction("gap", gap),
        seed=seed,
        threads=threads,
        baselines=tuple(name for name in BASELINES if name in baselines),
        objective=objective,
        runtime=runtime,
        **given,
    )


def sweep(
    graph: Path | str,
    cluster: Path | str,
    directory: Path | str,
    *,
    executor: Executor | None = None,
    processes: int | None = None,
    dask: str | None = None,
    memory_limit: float | str | None = None,
    max_bubble: float | None = None,
    beat: str | None = None,
    **flags: Any,
) -> list[Row]:
    """Solve a grid of problems and write what ``planner sweep`` writes into ``directory``; a row for each point.

    - ``flags``: the keywords of ``read_problem`` and ``solve``, each with a value or a list of values, such as
      ``memory_cap=["40 GiB", "80 GiB"], copies=[1, 2]``; of ``variants`` and ``baselines`` a value is a list itself
    - ``executor``: runs the solves (mpi4py, Ray, a pool of your own; its processes need the same planner); it stays
      open. Or ``dask``: the address of a scheduler. Default: ``processes`` of this machine, as many as cores allow;
      a script that uses them starts its work under ``if __name__ == "__main__":``, as multiprocessing asks
    - ``memory_limit`` of the process of a solve, bytes; ``max_bubble`` and ``beat``: what ``Row.met`` is about

    ``threads`` is 1 by default. Calling it again goes on where it was cut off. Raises ``InputError`` and
    ``ValueError``.
    """
    from planner import engine  # imported here: plans need no executors
    from planner.sweeping import Point, Sweep
    from planner.sweeping.running import write

    if sum(given is not None for given in (executor, processes, dask)) > 1:
        raise ValueError("executor, processes and dask exclude each other")
    if beat is not None:
        known_baseline(beat)
    limit = None if memory_limit is None else amount("memory_limit", memory_limit, BYTES)
    at_least("processes", processes, 1)
    given = {"threads": 1} | flags
    points = []
    for each in _grid(given):
        posing = {name: value for name, value in each.items() if name in signature(read_problem).parameters}
        solving = {name: value for name, value in each.items() if name not in posing}
        if beat is not None:
            solving["baselines"] = [*solving.get("baselines", ()), beat]
        try:
            problem = read_problem(graph, cluster, **posing)
        except Impossible as error:
            points.append(Point(each, None, None, str(error), max_bubble, beat))
            continue
        options = _options(problem, **solving)
        points.append(Point(options.flags, problem, options, "", max_bubble, beat))
    threads = max(int(point.flags.get("threads", 1)) for point in points)
    source = executor_of(executor, processes or max(1, engine.cores() // threads), dask)
    made = Sweep(points)
    with engine.Engine(source, engine.Store(Path(directory) / "results"), engine.Limits(threads, limit)) as running:
        made.solve(running)
        rows = made.rows()
        write(Path(directory), rows, running)
    return rows


def _grid(flags: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The product of the values of all flags. Raises ``ValueError`` for a flag that there is none of."""
    known = {*signature(read_problem).parameters, *signature(solve).parameters} - {"graph", "cluster", "problem"}
    unknown = set(flags) - known
    if unknown:
        raise ValueError(f"unknown flag {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")
    axes = {}
    for name, value in flags.items():
        several = isinstance(value, list | tuple)
        if name in ("variants", "baselines"):
            several = several and not all(isinstance(each, str) for each in value)
        axes[name] = list(value) if several else [value]
        if not axes[name]:
            raise ValueError(f"{name} lists no value")
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def baseline(name: str, problem: Problem, *, variant: str | None = None, runtime: str = ANY) -> Plan:
    """The plan of a baseline, such as ``"1f1b"`` or ``"dualpipe"``, one stage a device.

    ``variant``: the name of the variant of all operators that have it (``"base"``: none); default: the best choice
    that fits in memory. ``runtime``: which runs it, as it does. The plan ignores the memory cap and brings along the
    copies that it needs. Raises ``NotApplicable`` with the reason, and ``ValueError`` for an unknown name.
    """
    known_baseline(name)
    if (problem.chunks or 1) > 1 and SCHEDULES[name].chunks == 1:
        raise ValueError(f"{name} puts one chunk on a device, not {problem.chunks}")
    known_runtime(runtime)
    return baseline_plan(name, problem, variant, runtime)


def verify(plan: Plan, problem: Problem) -> list[Violation]:
    """All violations of rules; empty if the plan is valid for the problem.

    The check shares no code with what makes plans. A baseline may have more copies than the problem allows.
    """
    return violations_of(plan, problem)


def export(plan: Plan, to: str, problem: Problem | None = None, **options: Any) -> Exported:
    """The plan as a file of another program: a text, further files beside it, and remarks.

    - ``to``: a name of ``planner export --to``: trace, torch-csv, megatron, megatron-bridge, torchtitan
    - ``problem``: that of the plan; some formats need it, others say more with it
    - ``options`` of the format, as ``planner export --help`` lists them: ``repair=True`` for torch-csv

    Raises ``CannotExport`` where the format cannot express the plan, and ``ValueError`` for an unknown format or
    option, or a plan that is not valid for the problem.
    """
    if to not in EXPORTERS:
        raise ValueError(f"unknown format {shown(to)}; known are {', '.join(EXPORTERS)}")
    exporter = EXPORTERS[to]
    unknown = set(options) - {field.name for field in fields(exporter.options)}
    if unknown:
        raise ValueError(f"{to} has no option {', '.join(sorted(unknown))}")
    reason = not_in_full(plan)
    if reason is not None:
        raise CannotExport(reason)
    violations = [] if problem is None else [v for v in violations_of(plan, problem) if v.rule != Rule.MEMORY]
    if violations:
        raise ValueError(f"the plan is not valid for the problem: {violations[0]}")
    return exporter.export(plan, problem, exporter.options(**options))


def predict(
    config: Path | str,
    cluster: Path | str,
    strategies: Sequence[Mapping[str, object]] | Path | str,
    *,
    family: str | None = None,
    calibration: Path | str | None = None,
) -> list[Prediction]:
    """Step time and memory of each strategy, in order: seconds, bytes of the fullest rank, whether it fits.

    - ``config``: config.json of a Hugging Face model, or the name of a shipped one (``llama-3.1-70b``); ``family``: the
      model_type to read it as, where it has another
    - ``cluster``: cluster.yaml, or a shipped one (``h100:8x8``)
    - ``strategies``: one mapping each, such as ``{"tp": 8, "pp": 4, "mbs": 1, "gbs": 256, "seq": 4096}``, or the name
      of a CSV file; ``planner.prediction.strategy`` has the names and their defaults, others are ignored
    - ``calibration``: a shipped one (``h100``) or a file of ``planner calibrate``; default: that of the device type

    A strategy that cannot be run or predicted has a ``reason`` and no figures; it stops no other. Raises ``InputError``
    where a file is missing or wrong, and ``ValueError`` for an unknown ``family`` or
    ``calibration``.
    """
    from planner.prediction import table  # imported here: graphs and plans need no models

    try:
        model = table.read_model_file(Path(config), family)
    except UsageFault as error:
        raise ValueError(str(error)) from error
    devices = read_cluster(Path(cluster))
    if isinstance(strategies, Path | str):
        rows = table.read_table(Path(strategies)).rows
    else:
        rows = [{name: _cell(value) for name, value in each.items()} for each in strategies]
    return list(table.predictions(model, devices, rows, None if calibration is None else str(calibration)))


def _cell(value: object) -> str:
    """A value as a table has it: nothing for None and NaN."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else str(value)


def strategy(
    config: Path | str,
    cluster: Path | str,
    *,
    global_batch: int,
    sequence: int,
    runtime: str = "megatron",
    schedules: str = "runnable",
    precision: str = "bf16",
    recompute: str = "choose",
    fix: Mapping[str, int | Sequence[int]] | None = None,
    max_memory: float | str | None = None,
    calibration: Path | str | None = None,
    family: str | None = None,
    images: int | None = None,
    image_size: int | None = None,
    top: int = 5,
    plans: int = 1,
    gap: float | str = 0.0,
    time_limit: float | str = 60.0,
    seed: int = 0,
    executor: Executor | None = None,
    processes: int | None = None,
    dask: str | None = None,
) -> Answer:
    """The best ways to share a model among the GPUs of a cluster for training, with a bound over all of them.

    - ``config``: a shipped model (``"llama-3.1-70b"``) or a config.json, ``cluster``: ``"h100:8x8"`` or a cluster.yaml
    - ``global_batch``: sequences a step, ``sequence``: tokens of each
    - ``runtime``: who has to run the plan; ``schedules="any"`` allows every plan of the device model
    - ``fix``: values that degrees may have, such as ``{"tp": 8, "pp": [4, 8]}``; ``max_memory`` of a GPU, in bytes
    - ``top``: strategies listed; ``plans``: of how many of them there is a whole plan
    - ``gap``: the search ends where the best is proven within it; ``time_limit`` of the whole, in seconds
    - ``executor``, ``processes``, ``dask``: as for ``sweep``

    ``planner.strategies.answer.document_of`` makes the document of ``--format json`` from the answer. Raises
    ``InputError`` and ``ValueError``.
    """
    from planner import engine  # imported here: plans need no executors
    from planner.strategies.asked import request_of
    from planner.strategies.best import best_strategies

    if sum(given is not None for given in (executor, processes, dask)) > 1:
        raise ValueError("executor, processes and dask exclude each other")
    known_runtime(runtime)
    for name, number in {"global_batch": global_batch, "sequence": sequence, "top": top}.items():
        at_least(name, number, 1)
    request = request_of(
        Path(config),
        Path(cluster),
        family=family,
        global_batch=global_batch,
        sequence=sequence,
        runtime=runtime,
        schedules=schedules,
        precision=precision,
        recompute=recompute,
        fixed=degrees(fix),
        memory=None if max_memory is None else amount("max_memory", max_memory, BYTES),
        calibration=None if calibration is None else str(calibration),
        images=images,
        image_pixels=image_size,
        seed=seed,
    )
    limit, enough = positive("time_limit", time_limit), fraction("gap", gap)
    with engine.Engine(executor_of(executor, processes or engine.cores(), dask), limits=engine.Limits(1)) as running:
        found = best_strategies(request, running, limit, enough, top, plans)
        running.stop()
    return found


def inference_strategy(
    config: Path | str,
    cluster: Path | str,
    *,
    prompt: int,
    output_length: int,
    max_prefill_latency: float | str | None = None,
    max_token_latency: float | str | None = None,
    gpus: int | None = None,
    precision: str = "bf16",
    fix: Mapping[str, int | Sequence[int]] | None = None,
    max_memory: float | str | None = None,
    calibration: Path | str | None = None,
    family: str | None = None,
    top: int = 5,
    plans: int = 0,
    time_limit: float | str = 60.0,
) -> Serving:
    """The best ways to serve a model on the GPUs of a cluster, with a bound over all of them.

    - ``config``, ``cluster``, ``fix``, ``max_memory``: as for ``strategy``; ``gpus``: how many to use, by default all
    - ``prompt``, ``output_length``: tokens of a request, read and written
    - ``max_prefill_latency``, ``max_token_latency``: seconds to the first token, and from token to token
    - ``top``: strategies listed; ``plans``: of how many of them the decode steps are planned
    - ``time_limit`` of the whole, in seconds; all runs in this process

    ``planner.strategies.inference.answer.document_of`` makes the document of ``--format json`` from the answer, which
    ``planner.strategies.page.strategy_html`` draws. Raises ``InputError`` and ``ValueError``.
    """
    from planner.strategies.inference.best import best_serving
    from planner.strategies.inference.question import question_of

    for name, number in {"prompt": prompt, "output_length": output_length, "top": top, "gpus": gpus}.items():
        at_least(name, number, 1)
    at_least("plans", plans, 0)
    limits = {"max_prefill_latency": max_prefill_latency, "max_token_latency": max_token_latency}
    prefill, token = (math.inf if each is None else positive(name, each) for name, each in limits.items())
    question = question_of(
        Path(config),
        Path(cluster),
        prompt=prompt,
        output=output_length,
        family=family,
        gpus=gpus,
        precision=precision,
        memory=None if max_memory is None else amount("max_memory", max_memory, BYTES),
        calibration=None if calibration is None else str(calibration),
        max_prefill=prefill,
        max_token=token,
        fixed=degrees(fix),
    )
    return best_serving(question, positive("time_limit", time_limit), top, plans)


def read_plan(path: Path | str) -> Plan:
    """The plan in a file. Raises ``InputError``; ``verify`` checks what its numbers mean."""
    from planner.files.plan_file import read_plan as read  # it loads a schema checker

    return read(path)
