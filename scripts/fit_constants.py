"""Fit the constants of predictions again, on the rows that scripts/measured_steps/fitted.py names.

`python scripts/fit_constants.py`: tries every value of each constant, prints the best ones by the median of
|predicted / measured - 1|, and what stands in the program. Takes some minutes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median

from measured_steps.fitted import FITS, Fit
from measured_steps.steps import Step, cluster_of, model_of, read_steps
from planner.importers.transformer.calibrated import sustained
from planner.prediction.predictor import Predictor
from planner.prediction.strategy import strategy_of
from planner.runtimes.registry import RUNTIMES

MEASURED = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "measured"
SHOWN = 3


def error(fit: Fit, steps: list[Step], share: float, host: float, moved: float) -> float:
    """The median error with these constants."""
    runtime = replace(RUNTIMES[fit.runtime], host_seconds=host, moved=moved)
    known: dict[tuple[str, ...], Predictor] = {}
    found = []
    for step in steps:
        key = step.model_key + step.cluster_key
        if key not in known:
            known[key] = Predictor(model_of(step), cluster_of(step), {fit.runtime: runtime}, share)
        predictor = known[key]
        predicted = predictor.predict(strategy_of(step.strategy, len(predictor.cluster.devices)))
        if predicted.seconds is not None and step.seconds is not None:
            found.append(abs(predicted.seconds / step.seconds - 1))
    return median(found)


def main() -> int:
    """Fit each, in the order of the list: later ones take what stands in the program for the others."""
    for fit in FITS:
        steps = [s for s in read_steps(MEASURED / f"{fit.table}.csv") if s.fitted and not s.broken]
        now = (sustained(fit.accelerator), RUNTIMES[fit.runtime].host_seconds, RUNTIMES[fit.runtime].moved)
        tried = [
            some or (value,) for some, value in zip((fit.sustained, fit.host_seconds, fit.moved), now, strict=True)
        ]
        graded = sorted((error(fit, steps, *values), values) for values in product(*tried))
        print(f"{fit.constants}: {len(steps)} rows of {fit.table} ({fit.rows})")
        for each, values in graded[:SHOWN]:
            print(f"  {each:.1%} with sustained {values[0]:g}, host_seconds {values[1]:g}, moved {values[2]:g}")
        print(f"  {error(fit, steps, *now):.1%} with what stands there: {now[0]:g}, {now[1]:g}, {now[2]:g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
