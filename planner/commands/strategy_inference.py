"""``planner strategy --mode inference``: how to serve a model."""

from __future__ import annotations

import json
import math
import time

from planner.commands import flags as shared
from planner.commands.app import Terminated
from planner.commands.common import ExitCode, emit, note, report_style
from planner.commands.lazy import BEGUN
from planner.commands.running import ProgressLine
from planner.commands.strategy_flags import StrategyFlags
from planner.commands.strategy_output import check_outputs, write_answer
from planner.files.errors import shown
from planner.files.flag_values import UsageFault, duration
from planner.importers.transformer.setting import Recompute
from planner.problem import ProblemError
from planner.strategies.inference.answer import document_of
from planner.strategies.inference.best import best_serving
from planner.strategies.inference.folder import write_folder
from planner.strategies.inference.question import DEGREES, Question, question_of
from planner.strategies.inference.search import Found
from planner.strategies.inference.text import inference_text, sentence
from planner.strategies.request import RUNNABLE


def run_inference(flags: StrategyFlags, fixed: dict[str, tuple[int, ...]], limit: float) -> int:
    """Look at all strategies, and deliver the answer. ``limit``: seconds of the whole."""
    question = _question(flags, fixed)
    check_outputs(flags)
    line = ProgressLine() if ProgressLine.wanted(flags.quiet) else None
    spent = time.monotonic() - BEGUN.get(time.monotonic())
    try:
        answer = best_serving(
            question,
            limit,
            flags.top,
            flags.top if flags.output is not None else 1 if flags.html is not None else 0,
            spent,
            (lambda what: None) if line is None else line.say,
            (KeyboardInterrupt, Terminated),
        )
    except ProblemError as error:
        raise UsageFault(str(error)) from error
    finally:
        if line is not None:
            line.clear()
    document = document_of(answer)
    write_answer(flags, document, answer.winner)
    if flags.output is not None:
        for place, looked in enumerate(answer.chosen):
            write_folder(flags.output / str(place + 1), answer.found.phases, looked.strategy, answer.plans.get(place))
        note(f"written to {flags.output}", flags.quiet)
    if flags.format is shared.Format.json:
        emit(json.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        emit(sentence(document) + "\n" if flags.quiet else inference_text(document, *report_style()))
    return _code(answer.found)


def _number(text: str | None) -> int | None:
    """What ``--gpus`` says: one number here."""
    if text is not None and not (text.isascii() and text.isdigit() and 0 < int(text) < 10**7):
        raise UsageFault(f"--gpus takes one number with --mode inference, not {shown(text)}")
    return None if text is None else int(text)


def _question(flags: StrategyFlags, fixed: dict[str, tuple[int, ...]]) -> Question:
    """The question. Raises ``InputError`` and ``UsageFault``."""
    if flags.prompt is None or flags.output_length is None:
        raise UsageFault("--mode inference needs --prompt and --output-length, in tokens")
    given = {
        "--global-batch": flags.global_batch is not None,
        "--sequence": flags.sequence is not None,
        "--runtime": flags.runtime != type(flags).runtime,
        "--schedules": flags.schedules != RUNNABLE,
        "--recompute": flags.recompute is not Recompute.CHOOSE,
        "--images": flags.images is not None,
        "--image-size": flags.image_size is not None,
        "--within": flags.within is not None,
        "--gap": flags.gap != type(flags).gap,
        "--seed": flags.seed != type(flags).seed,
        "--processes": flags.processes is not None,
        "--dask": flags.dask is not None,
    }
    for flag, there in given.items():
        if there:
            raise UsageFault(f"{flag} is for training: --mode inference does not take it")
    for name in fixed:
        if name not in DEGREES:
            raise UsageFault(f"--fix {name}: inference has the degrees {', '.join(DEGREES)}")
    try:
        return question_of(
            flags.config,
            flags.cluster,
            prompt=flags.prompt,
            output=flags.output_length,
            family=flags.family,
            gpus=_number(flags.gpus),
            precision=flags.precision.value,
            memory=None if flags.max_memory is None else shared.memory_size("--max-memory", flags.max_memory),
            calibration=flags.calibration,
            max_prefill=_latency("--max-prefill-latency", flags.max_prefill_latency),
            max_token=_latency("--max-token-latency", flags.max_token_latency),
            fixed=fixed,
        )
    except ValueError as error:
        raise UsageFault(str(error)) from error


def _latency(flag: str, text: str | None) -> float:
    """Seconds; inf where there is no limit."""
    if text is None:
        return math.inf
    value = duration(flag, text)
    if value <= 0:
        raise UsageFault(f"{flag} must be above 0")
    return value


def _code(found: Found) -> int:
    """0 with a strategy; 3 where it is proven that none serves, 4 where none was found."""
    if not math.isinf(found.best):
        if found.interrupted:
            note("interrupted: this is what was known by then")
        return ExitCode.DONE
    if not found.looked:
        reasons = found.invalid.most_common(1)
        first = f"the most frequent reason: {reasons[0][0]}" if reasons else "the flags leave none"
        note(f"no strategy is valid: {first}")
        return ExitCode.INFEASIBLE
    if found.refused:
        states = found.states
        note(
            f"no strategy serves this, which is proven for each: {states['out of memory']:,} do not fit in memory, "
            f"{states['too slow']:,} are too slow"
        )
        return ExitCode.INFEASIBLE
    note("no strategy was found in the time given, and none is proven not to exist")
    return ExitCode.NO_PLAN
