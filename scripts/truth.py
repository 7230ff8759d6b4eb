"""Predict every measured step, and write how near the predictions come: docs/truth.md, docs/truth-TABLE.svg.

`python scripts/truth.py [--table FILE...] [--page FILE] [--rows FILE] [--jobs N]`: the tables of
../shared/data/measured, or any CSV in that form. `--rows FILE` writes a CSV of all rows, predicted beside measured.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from measured_steps import published
from measured_steps.compared import Compared, compare, efficiency
from measured_steps.page import page, summary
from measured_steps.scatter import scatter
from measured_steps.steps import read_steps, tables
from planner.files.whole import write_whole

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT.parent / "shared" / "data" / "measured"


def main() -> int:
    """Predict, write the page and its pictures, print the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, nargs="+", metavar="FILE", help="tables (default: all that are shared)")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "truth.md", help="the page; pictures beside it")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="a CSV of every row")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    given = parser.parse_args()
    paths = given.table or tables(MEASURED)
    if not paths:
        parser.error(f"no tables in {MEASURED}: name them with --table")
    results: dict[str, list[Compared]] = {}
    for path in paths:
        steps = read_steps(path)
        results[path.stem] = compare(steps, given.jobs, partial(_tell, path.stem, len(steps)))
    pictures = {name: f"{given.page.stem}-{name}.svg" for name, rows in results.items() if any(r.counts for r in rows)}
    write_whole(given.page, page(results, pictures, "" if given.table else published.text(published.predicted())))
    for name, picture in pictures.items():
        write_whole(given.page.with_name(picture), _picture(name, results[name]))
    if given.rows:
        write_whole(given.rows, _rows(results))
    print(summary(results), end="")
    print(f"{given.page} written", file=sys.stderr)
    return 0


def _tell(name: str, of: int, done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{name}: {done} of {of} rows", end="\n" if done == of else "", file=sys.stderr, flush=True)


def _picture(name: str, rows: Sequence[Compared]) -> str:
    counted = [row for row in rows if row.counts]
    constant = efficiency(counted)
    ours: dict[str, list[tuple[float, float]]] = {}
    line: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(counted, key=lambda row: (row.step.number("hidden"), row.step.number("layers"))):
        model = row.step.row.get("model") or "model"
        if model == "gpt":
            model = f"gpt, {row.step.number('layers')} layers of {row.step.number('hidden')}"
        ours.setdefault(model, []).append(row.times)
        line.setdefault(model, []).append((row.line / constant, row.lines[1]))
    panels = {"planner predict": ours, f"one line: efficiency {constant:.3g}, fitted here, x bubble": line}
    return scatter(f"{name}: predicted and measured seconds of {len(counted)} steps", panels)


def _rows(results: dict[str, list[Compared]]) -> str:
    out = io.StringIO(newline="")
    first = next(row for rows in results.values() for row in rows)
    ours = ("table", "left_out", "predicted_s", "predicted_bytes", "fits", "reason", "one_line_at_full_efficiency_s")
    writer = csv.DictWriter(out, [*first.step.row, *ours], restval="", lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for rows in results.values():
        for row in rows:
            p, step = row.prediction, row.step
            values = (step.table, step.left_out, p.seconds, p.bytes, p.fits, p.reason, row.line)
            writer.writerow({**step.row, **dict(zip(ours, values, strict=True))})
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
