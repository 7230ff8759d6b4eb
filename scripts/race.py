"""Race planner against CP-SAT, big-M order variables in HiGHS, and its own heuristics alone.

`python scripts/race.py [--only PATTERN] [--limit S] [--limit-bigm S] [--rivals A,B] [--all] [--missing]`: every case
is run by one racer after the other, each in a process of its own; general problems by ours and CP-SAT only, with one
thread and at most 20 s. After each case all results are written to docs/race.json, so that cases can be run in several
calls. docs/bench.md and docs/race.svg are written from that file at the end (`--page-only`: only that). Needs the extra
`bench`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import planner
from planner.files.whole import write_whole
from racing.cases import GENERAL_LIMIT, WHOLE, Case, cases
from racing.page import page
from racing.plot import plot

ROOT = Path(__file__).resolve().parent.parent
RACERS = ("ours", "cpsat", "bigm", "heuristics", "cpsat-ordered")


def machine() -> str:
    """The processor, its cores in use, and the versions of the packages involved."""
    info = Path("/proc/cpuinfo")
    names = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.split(":", 1)[1].strip() for line in names if line.startswith("model name")), platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

    def of(name: str) -> str:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            return f"no {name}"

    packages = ", ".join(map(of, ("parallelism-planner", "highspy", "ortools", "numba", "numpy")))
    return f"{cores} cores ({model}), {platform.system()}, Python {platform.python_version()}, {packages}."


def commit() -> str:
    """The commit that is raced, with a * if planner/ differs from it."""

    raced = Path(planner.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=raced, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("*" if git("status", "--short", ".") else "")


def read(path: Path) -> dict[str, Any]:
    """Results so far."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"machine": "", "cases": {}}


def in_order(results: dict[str, Any]) -> dict[str, Any]:
    """The results in the order in which the cases are defined."""
    names = [case.name for case in cases()]
    kept = sorted(results["cases"].items(), key=lambda item: names.index(item[0]) if item[0] in names else len(names))
    return {"machine": results["machine"], "cases": dict(kept)}


def chosen(given: argparse.Namespace) -> list[Case]:
    """The cases that the flags name."""
    patterns = given.only or []
    found = [
        c for c in cases() if any(fnmatch(c.name, p) for p in patterns) or (not patterns and (c.regular or given.all))
    ]
    if not found:
        raise SystemExit(f"no case matches {' '.join(patterns)}; --list shows them")
    return found


def main() -> int:
    """Race, keep the results, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="PATTERN", help="cases by name, as in the shell")
    parser.add_argument("--all", action="store_true", help="all measured stages, not only the first of each model")
    parser.add_argument("--missing", action="store_true", help="leave out what the results already hold")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for each racer (default %(default)g)")
    parser.add_argument("--limit-bigm", type=float, default=20.0, help="seconds for big-M (default %(default)g)")
    parser.add_argument("--rivals", default="cpsat,bigm,heuristics", help=f"of {', '.join(RACERS[1:])}; may be empty")
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "race.json", help="read and written")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder for bench.md and race.svg")
    parser.add_argument("--page-only", action="store_true", help="race nothing, only write the page")
    parser.add_argument("--list", action="store_true", help="show the cases and the longest they can take")
    given = parser.parse_args()
    racers = ("ours", *filter(None, given.rivals.split(",")))
    if unknown := set(racers) - set(RACERS):
        parser.error(f"unknown rivals: {', '.join(sorted(unknown))}")
    limits = {racer: min(given.limit, given.limit_bigm) if racer == "bigm" else given.limit for racer in racers}
    if given.list:
        for case in chosen(given):
            print(f"{case.name:24} {case.group}")
        longest = sum(sum(limits_of(case, limits).values()) for case in chosen(given))
        print(f"{len(chosen(given))} cases, at most {longest / 60:.0f} min")
        return 0
    results = read(given.results)
    if not given.page_only:
        run(chosen(given), limits, given, results)
    results = in_order(results)
    write_whole(given.docs / "race.svg", plot(results))
    write_whole(given.docs / "bench.md", page(results, "race.svg"))
    print(f"{given.docs / 'bench.md'} and race.svg written", file=sys.stderr)
    return 0


def limits_of(case: Case, limits: dict[str, float]) -> dict[str, float]:
    """The seconds of each racer that takes part in a case: in general problems ours and CP-SAT."""
    if case.placement != WHOLE:
        return limits
    return {racer: min(GENERAL_LIMIT, limit) for racer, limit in limits.items() if racer in ("ours", "cpsat")}


def run(
    found: list[Case],
    limits: dict[str, float],
    given: argparse.Namespace,
    results: dict[str, Any],
) -> None:
    """Race the cases one after the other, and keep each result."""
    from racing.course import race

    results["machine"], at = machine(), commit()
    # Compile the kernels first, as the installation does.
    subprocess.run([sys.executable, "-m", "planner", "warmup"], cwd=ROOT, check=True)
    for case in found:
        kept = results["cases"].setdefault(case.name, {})
        runs = kept.get("runs", {})
        seconds = limits_of(case, limits)
        wanted = tuple(racer for racer in seconds if not (given.missing and racer in runs))
        for racer, result in (race(case, wanted, seconds) if wanted else {}).items():
            runs[racer] = {**result, "limit": seconds[racer], "commit": at}
        kept |= {"name": case.name, "group": case.group, "known": case.known, "runs": runs}
        write_whole(given.results, json.dumps(in_order(results), indent=None) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
