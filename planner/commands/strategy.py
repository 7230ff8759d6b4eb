"""``planner strategy``: the best way to share a model among the GPUs of a cluster, with a bound over all ways."""

from __future__ import annotations

import json
import time

from planner.commands import flags as shared
from planner.commands.app import Terminated
from planner.commands.common import ExitCode, emit, note, report_style
from planner.commands.executors import executor_of
from planner.commands.lazy import BEGUN
from planner.commands.running import ProgressLine
from planner.commands.strategy_flags import StrategyFlags
from planner.commands.strategy_inference import run_inference
from planner.commands.strategy_output import check_outputs, write_answer
from planner.engine import Engine, Limits, Store
from planner.files.errors import shown
from planner.files.flag_values import UsageFault, duration, ratio
from planner.problem import ProblemError
from planner.problem.graph import Mode
from planner.strategies.answer import Answer, document_of
from planner.strategies.asked import request_of
from planner.strategies.best import best_numbers
from planner.strategies.launch import write_folder
from planner.strategies.request import DEGREES, Request
from planner.strategies.text import sentence, strategy_text

RESULTS = "results"
"""The folder of the store, below ``-o``."""

PAGE, PAGE_AT_MOST = 0.15, 8.0
"""Share of the time limit, and seconds at most, for drawing the page: the winner's step may have 100,000s of tasks."""


def run(flags: StrategyFlags) -> int:
    """Search, and deliver the answer."""
    limit = duration("--time-limit", flags.time_limit)
    if limit <= 0:
        raise UsageFault("--time-limit must be above 0")
    fixed = fixed_degrees(flags.fix or [])
    if flags.mode is Mode.INFERENCE:
        return run_inference(flags, fixed, limit)
    request, gap = _request(flags, fixed), ratio("--gap", flags.gap)
    within = None if flags.within is None else duration("--within", flags.within)
    check_outputs(flags)
    executor = executor_of(flags.processes, flags.dask)
    line = ProgressLine() if ProgressLine.wanted(flags.quiet) else None
    spent = time.monotonic() - BEGUN.get(time.monotonic())
    try:
        store = None if flags.output is None else Store(flags.output / RESULTS)
        with Engine(executor, store, Limits(1)) as engine:
            answer, others = best_numbers(
                request,
                engine,
                max(1.0, limit - spent - _page_seconds(flags, limit)),
                gap,
                flags.top,
                flags.top if flags.output is not None else 1,
                flags.output is not None,
                within,
                (lambda what: None) if line is None else line.say,
                (KeyboardInterrupt, Terminated),
            )
            engine.stop()  # what is left there would only be thrown away
    except ProblemError as error:
        raise UsageFault(str(error)) from error
    finally:
        if line is not None:
            line.clear()
    for remark in answer.found.notes:
        note(remark, flags.quiet)
    document = document_of(answer, others)
    _write(flags, answer, document)
    if flags.format is shared.Format.json:
        emit(json.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        emit(sentence(document) + "\n" if flags.quiet else strategy_text(document, *report_style()))
    return _code(answer)


def _request(flags: StrategyFlags, fixed: dict[str, tuple[int, ...]]) -> Request:
    """The question. Raises ``InputError`` and ``UsageFault``."""
    if flags.global_batch is None or flags.sequence is None:
        raise UsageFault(
            "training needs --global-batch and --sequence (and --mode inference --prompt, --output-length)"
        )
    for flag in ("prompt", "output_length", "max_prefill_latency", "max_token_latency"):
        if getattr(flags, flag) is not None:
            raise UsageFault(f"--{flag.replace('_', '-')} is for --mode inference")
    memory = None if flags.max_memory is None else shared.memory_size("--max-memory", flags.max_memory)
    try:
        return request_of(
            flags.config,
            flags.cluster,
            family=flags.family,
            gpus=None if flags.gpus is None else numbers_of(flags.gpus),
            global_batch=flags.global_batch,
            sequence=flags.sequence,
            runtime=flags.runtime,
            schedules=flags.schedules,
            precision=flags.precision.value,
            recompute=flags.recompute.value,
            memory=memory,
            calibration=flags.calibration,
            images=flags.images,
            image_pixels=flags.image_size,
            fixed=fixed,
            seed=flags.seed,
        )
    except ValueError as error:
        raise UsageFault(str(error)) from error


def _page_seconds(flags: StrategyFlags, limit: float) -> float:
    """Seconds that are kept for drawing the page, where one is asked for."""
    asked = flags.html is not None or flags.output is not None
    return min(PAGE_AT_MOST, PAGE * limit) if asked else 0.0


def numbers_of(text: str) -> tuple[int, ...]:
    """What ``--gpus`` says: ``64``, ``32,64``, or ``32:512``, which doubles from 32 on."""
    first, sign, last = text.partition(":")
    parts = [first, last] if sign else text.split(",")
    numbers = [int(part) for part in parts if part.strip().isascii() and part.strip().isdigit() and len(part) <= 7]
    if len(numbers) != len(parts) or min(numbers) < 1 or (sign and numbers[0] > numbers[1]):
        raise UsageFault(f"--gpus takes a number, such as 64, several, such as 32,64, or 32:512, not {shown(text)}")
    if not sign:
        return tuple(sorted(set(numbers)))
    found = [numbers[0]]
    while found[-1] * 2 <= numbers[1]:
        found.append(found[-1] * 2)
    return tuple(found)


def fixed_degrees(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """What ``--fix`` says: ``tp=8,pp=4``; a degree that is named twice may have either value."""
    found: dict[str, tuple[int, ...]] = {}
    for each in (part.strip() for text in texts for part in text.split(",")):
        name, sign, value = each.partition("=")
        if name not in DEGREES or not sign or not value.isascii() or not value.isdigit() or len(value) > 9:
            raise UsageFault(f"--fix takes degrees and whole numbers, such as tp=8,pp=4, not {shown(each)}")
        found[name] = (*found.get(name, ()), int(value))
    return found


def _write(flags: StrategyFlags, answer: Answer, document: dict[str, object]) -> None:
    """The page, and the folder with a folder for each of the best strategies."""
    write_answer(flags, document, answer.winner)
    if flags.output is None:
        return
    for place, looked in enumerate(answer.chosen):
        folder = flags.output / str(place + 1)
        for remark in write_folder(folder, answer.request, looked.candidate, answer.plans.get(place)):
            note(remark, flags.quiet)
    note(f"written to {flags.output}", flags.quiet)


def _code(answer: Answer) -> int:
    """0 with a plan; 3 where it is proven that no strategy has one, 4 where none was found."""
    found = answer.found
    if answer.chosen:
        if found.interrupted:
            note("interrupted: this is what was known by then")
        return ExitCode.DONE
    reasons = found.space.invalid.most_common(1)
    if not found.looked:
        first = f"the most frequent reason: {reasons[0][0]}" if reasons else "the flags leave none"
        note(f"no strategy is valid: {first}")
        return ExitCode.INFEASIBLE
    if all(looked.out_of_memory for looked in found.looked):
        note(f"no strategy fits in memory, which is proven for each: {found.looked[0].reason}")
        return ExitCode.INFEASIBLE
    if all(looked.without for looked in found.looked):
        note(f"no strategy has a plan, which is proven for each: {found.looked[0].reason}")
        return ExitCode.INFEASIBLE
    note("no plan was found in the time given, and none is proven not to exist")
    return ExitCode.NO_PLAN
