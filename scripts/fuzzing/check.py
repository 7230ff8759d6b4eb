"""What must hold for every command line, whatever it and its files hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from fuzzing.cases import THERE, Case
from fuzzing.run import Result, called
from planner.commands.common import ExitCode

SLOW = 20.0
"""Seconds that no case may take; a solve has a limit of 2."""

LEFT = re.compile(r"\.[^/]*\.[a-z0-9_]{8}$")
"""The name of a temporary file that was to become an output."""

PLANS = ("solve", "baseline", "stretch")


def checked(case: Case, folder: Path) -> tuple[Result, list[str]]:
    """Run the case in an empty folder, the new working directory: what it did, and what is wrong with that."""
    os.chdir(folder)
    laid_out(case, folder)
    before = _listed(folder)
    result = called(case.arguments, case.stdin)
    wrong = [*result.trouble, *_of_the_streams(case, result), *_of_the_files(case, result, folder, before)]
    if not wrong and result.code == ExitCode.DONE and case.command in PLANS:
        wrong += _of_the_plan(case, folder)
    return result, wrong


def laid_out(case: Case, folder: Path) -> None:
    """Put the files of a case into a folder, beside what every case finds there."""
    for name, content in case.files.items():
        (folder / name).write_bytes(content)
    (folder / "there.json").write_bytes(THERE)
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")


def _of_the_streams(case: Case, result: Result) -> Iterator[str]:
    text = result.err
    if result.trouble:
        return
    if "Traceback" in text or "internal error" in text:
        yield f"traceback or internal error: {text}"
    if result.code not in {int(code) for code in ExitCode}:
        yield f"exit code {result.code}"
    if result.code == ExitCode.INTERNAL and "cannot be written" not in text:  # a full disk is no fault of the input
        yield f"exit code 1: {text}"
    if result.seconds > SLOW:
        yield f"takes {result.seconds:.1f} s"
    lines = text.removesuffix("\n").split("\n") if text else []
    if any(not line.startswith("planner: ") for line in lines):
        yield f"a line on stderr that is not planner's: {text}"
    if any(not c.isprintable() for line in lines for c in line):
        yield f"control characters on stderr: {text!r}"
    if result.code == ExitCode.USAGE:
        if result.out:
            yield f"stdout beside an error: {result.out[:200]}"
        if not lines:
            yield "an error without a message"
        if len(lines[-1:]) and len(lines[-1]) > 3000:
            yield f"a message of {len(lines[-1])} characters"
        if re.match(r"planner: \w+\.yaml: ", lines[-1]) and not case.options_mutated:
            yield f"the message names no line: {lines[-1]}"
        if len(case.mutated) == 1 and not case.options_mutated and not _names(lines[-1], case):
            yield f"the message names no file: {lines[-1]}"
    if result.code in (ExitCode.INFEASIBLE, ExitCode.NO_PLAN) and not lines:
        yield f"exit code {result.code} without a reason"
    if result.code == ExitCode.DONE and _wants_json(case):
        try:
            json.loads(result.out, parse_constant=_refuse)
        except ValueError as error:
            yield f"stdout is no JSON document: {error}: {result.out[:200]}"


def _names(message: str, case: Case) -> bool:
    """Whether a message names a file of the case, an option or an output, which may be at fault too."""
    words = [*case.files, *(word for word in case.arguments if word)]
    return any(word in message for word in words)


def _wants_json(case: Case) -> bool:
    words = list(case.arguments)
    shown = [words[k + 1] for k, word in enumerate(words[:-1]) if word == "--format"]
    return (
        bool(shown)
        and shown[-1] == "json"
        and not {"-o", "--help", "-h", "--version"} & set(words)
        and "-" not in words
    )


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _of_the_files(case: Case, result: Result, folder: Path, before: dict[str, bytes | None]) -> Iterator[str]:
    after = _listed(folder)
    for name in after.keys() - before.keys():
        if LEFT.search(name):
            yield f"a temporary file stays: {name}"
        elif result.code == ExitCode.USAGE and after[name] is not None:
            yield f"a file is written beside an error: {name}"
    for name in case.files:
        if after.get(name) != before[name]:
            named = [
                k for k, word in enumerate(case.arguments) if word == name and case.arguments[k - 1].startswith("-")
            ]
            if not named:
                yield f"an input is changed: {name}"
    if "there.json" not in after:
        yield "an output that was there is gone"
    elif after["there.json"] != THERE and result.code == ExitCode.USAGE:
        yield "an output that was there is changed beside an error"


def _listed(folder: Path) -> dict[str, bytes | None]:
    """Every path below the folder, with the content where it is a file."""
    found = {}
    for path in folder.rglob("*"):
        found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else None
    return found


def _of_the_plan(case: Case, folder: Path) -> Iterator[str]:
    """A plan that was written is valid; one of a baseline may need more memory than there is."""
    words = list(case.arguments)
    outputs = [words[k + 1] for k, word in enumerate(words[:-1]) if word in ("-o", "--output")]
    inputs = [words[k] for k in range(len(words)) if words[k] in ("graph.yaml", "cluster.yaml")]
    if not outputs or {"--help", "--version", "-h"} & set(words) or len(inputs) < 2:
        return
    path = folder / outputs[-1]
    if path.is_symlink() or not path.is_file():
        return
    verify = called(["verify", str(path), "--graph", "graph.yaml", "--cluster", "cluster.yaml"])
    lines = verify.out.splitlines()[:-1]
    if verify.code == ExitCode.DONE:
        return
    fits_not = verify.code == ExitCode.VIOLATIONS and all(line.startswith("rule 5 ") for line in lines)
    if not (case.command == "baseline" and fits_not):
        yield f"the plan does not verify: {verify.code} {verify.out[:500]} {verify.err} {''.join(verify.trouble)}"
