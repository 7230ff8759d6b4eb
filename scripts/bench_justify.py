"""What justification brings the search over rules: the same evaluations with it and without, in turns in one run.

    .venv/bin/python scripts/bench_justify.py [--evaluations N...] [--seeds S] [CONFIG...]

On some placements of shipped configs, rules are varied for so many list schedules (--evaluations), once with their
schedules justified (forward and backward list scheduling in turn, ``planner/scheduling/list/justify.py``) and once
without, as many with each of some seeds. Prints a line for each placement with the mean makespans and seconds, and the
geometric mean of their ratios.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import planner
from planner.common.budget import Control
from planner.common.threads import default_threads
from planner.placement.layouts import family_placement
from planner.placement.versions import different_choices, in_versions
from planner.problem import Placement, Problem
from planner.scheduling.list_search import ListSearch
from planner.scheduling.params import SHIPPED, ScheduleParams
from planner.search.compiling import compile_if_needed

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

CASES = (
    ("llama-3.1-70b-tp8-pp8-32768", "base", "interleaved", 10),
    ("llama-3.1-70b-tp8-pp8-32768", "selective", "wave", 10),
    ("deepseek-v3-h800-whole", "fused", "interleaved", 4),
    ("deepseek-v3-61-layers-whole", "fused", "wave", 4),
    ("deepseek-v3-h800", "base", "interleaved", 4),
    ("multimodal-choose", "base", "interleaved", 3),
)
"""Config, version of all operators, layout, chunks a device."""

WITHOUT = replace(SHIPPED, rules=replace(SHIPPED.rules, justified=0, random=0.2, from_prefix=0.2))
"""Without justification, in the shares that were best for that."""


def searched(
    problem: Problem, placement: Placement, evaluations: int, seed: int, params: ScheduleParams
) -> list[float]:
    """Makespan and seconds of varying rules."""
    begun, threads = time.monotonic(), default_threads()
    search = ListSearch.of(problem, placement, seed, params)
    search.vary_rules(evaluations, Control(float("inf"), threads=threads), 0.0, threads)
    return [search.seconds, time.monotonic() - begun]


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help="placements of these only")
    parser.add_argument("--evaluations", type=int, nargs="+", default=[600, 4000], metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="S")
    given = parser.parse_args()
    compile_if_needed(Control())
    ratios: dict[int, list[float]] = {evaluations: [] for evaluations in given.evaluations}
    for config, version, layout, chunks in (case for case in CASES if case[0] in given.configs or not given.configs):
        problem = planner.read_problem(CONFIGS / config / "graph.yaml", CONFIGS / config / "cluster.yaml")
        versions = different_choices(problem)[version]
        found = family_placement(problem.chosen(versions), layout, range(problem.n_devices), chunks)
        assert found is not None
        placement = in_versions(problem, found, versions)
        for evaluations in given.evaluations:
            rows = [
                [searched(problem, placement, evaluations, seed, params) for params in (WITHOUT, SHIPPED)]
                for seed in range(given.seeds)
            ]
            means = [[statistics.fmean(row[k][n] for row in rows) for n in (0, 1)] for k in (0, 1)]
            ratios[evaluations].append(means[1][0] / means[0][0])
            print(
                f"{config} {version} {layout} x{chunks}, {evaluations} evaluations: without {means[0][0]:.4f} s "
                f"({means[0][1]:.1f} s of search), with {means[1][0]:.4f} s ({means[1][1]:.1f} s)",
                flush=True,
            )
    for evaluations, some in ratios.items():
        print(f"{evaluations} evaluations: makespans x {statistics.geometric_mean(some):.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
