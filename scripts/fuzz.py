"""Run planner on mutated command lines and files, and print every case in which it does what it must not.

`python scripts/fuzz.py [--count N] [--seed S] [--only COMMAND] [--case NUMBER] [--keep DIR] [--jobs J]`: N cases of
the seed. The files of a case that fails stay in DIR/SEED-NUMBER with its standard input, and its command line is
printed to be run there. `make test` runs a thousand cases (tests/commands/test_fuzzed.py).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from fuzzing.cases import case_of
from fuzzing.check import checked, laid_out
from planner.commands.common import ExitCode

MEMORY = 12 * 2**30
"""Bytes of address space of a process: what asks for more is a case that fails."""

Found = tuple[int, str, list[str]]


def run(numbers: range, seed: int, only: str | None, keep: Path) -> tuple[Counter[str], list[Found]]:
    """Run these cases; how they ended, and those that failed."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    ended, failed = Counter[str](), list[Found]()
    home = Path.cwd()
    for number in numbers:
        case = case_of(seed, number)
        if only is not None and case.command != only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            result, wrong = checked(case, Path(folder))
            os.chdir(home)
        ended[f"{case.command} {result.code}"] += 1
        if wrong:
            failed.append((number, str(case), wrong))
            kept = keep / f"{seed}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            laid_out(case, kept)
            (kept / "stdin").write_bytes(case.stdin or b"")
            (kept / "wrong").write_text("\n".join(wrong), encoding="utf-8", errors="replace")
            (kept / "command").write_text(f"{case} < stdin\n", encoding="utf-8")
    return ended, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="COMMAND")
    parser.add_argument("--case", type=int, metavar="NUMBER", help="only this one")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "planner-fuzz"))
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    begun = time.monotonic()
    first, last = (0, given.count) if given.case is None else (given.case, given.case + 1)
    parts = [range(k, min(k + 250, last)) for k in range(first, last, 250)]
    ended, failed = Counter[str](), 0
    with ProcessPoolExecutor(min(given.jobs, len(parts))) as workers:
        for codes, found in workers.map(partial(run, seed=given.seed, only=given.only, keep=given.keep), parts):
            ended += codes
            failed += len(found)
            for number, words, wrong in found:
                where = given.keep / f"{given.seed}-{number}"
                print(f"case {number} of seed {given.seed}: cd {where}; {words[:600]} < stdin")
                print(
                    "".join(f"    {line}\n" for each in wrong for line in each.rstrip().split("\n")[-12:]), flush=True
                )
    print(f"{sum(ended.values())} cases in {time.monotonic() - begun:.0f} s, {failed} failed")
    codes = Counter[str]()
    for name, count in ended.items():
        codes[name.split(" ")[-1]] += count
    print(", ".join(f"{count} ended with {code}" for code, count in sorted(codes.items())))
    return 1 if failed else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
