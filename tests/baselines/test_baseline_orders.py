"""The orders of published schedules are those of the reference implementations."""

import json
from collections import Counter
from pathlib import Path

import pytest

from planner.baselines import dualpipe, gpipe, one_f_one_b, zb1p
from planner.baselines.call import NotApplicable, Rows

REFERENCE = json.loads((Path(__file__).parents[1] / "data" / "reference_orders.json").read_text())["schedules"]
ROWS = {"gpipe": gpipe.rows, "1f1b": one_f_one_b.rows, "zb1p": zb1p.rows, "dualpipe": dualpipe.rows}


def label(reference: dict) -> str:
    return f"{reference['baseline']}-{reference['ranks']}x{reference['microbatches']}"


def peaks(rows: Rows, until: str) -> list[int]:
    """Most microbatches of full stages in flight on each rank, until I or W; a fused F counts first."""
    out = []
    for row in rows:
        held = most = 0
        for part in (part for call in row for part in call.parts):
            held += part.kind == "F"
            most = max(most, held)
            held -= part.kind in ("B", until)
        out.append(most)
    return out


@pytest.mark.parametrize("reference", REFERENCE, ids=label)
def test_order_and_activations_equal_the_reference_implementation(reference):
    rows = ROWS[reference["baseline"]](reference["ranks"], reference["microbatches"])
    assert [",".join(map(str, row)) for row in rows] == reference["rows"]
    assert peaks(rows, "I") == reference["peak"]
    assert peaks(rows, "W") == reference["peak_w"]


@pytest.mark.parametrize("name", ["gpipe", "1f1b", "zb1p"])
@pytest.mark.parametrize(("ranks", "microbatches"), [(1, 1), (1, 5), (2, 1), (4, 2), (6, 5), (5, 16)])
def test_every_pass_of_every_microbatch_stands_in_the_order_once(name, ranks, microbatches):
    for r, row in enumerate(ROWS[name](ranks, microbatches)):
        count = Counter((part.kind, part.stage, part.microbatch) for call in row for part in call.parts)
        kinds = "FIW" if name == "zb1p" else "FB"
        assert count == {(kind, r, m): 1 for kind in kinds for m in range(microbatches)}


@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 4), (2, 6), (6, 12), (6, 26), (10, 20), (16, 40)])
def test_dualpipe_runs_every_stage_of_both_copies_for_their_halves(ranks, microbatches):
    for r, row in enumerate(dualpipe.rows(ranks, microbatches)):
        count: Counter = Counter()
        for part in (part for call in row for part in call.parts):
            for kind in "IW" if part.kind == "B" else part.kind:
                count[kind, part.stage, part.copy, part.microbatch] += 1
        half = microbatches // 2
        near = {(kind, r, 0, m): 1 for kind in "FIW" for m in range(half)}
        far = {(kind, ranks - 1 - r, 1, m): 1 for kind in "FIW" for m in range(half, microbatches)}
        assert count == {**near, **far}


@pytest.mark.parametrize(("ranks", "microbatches"), [(5, 20), (4, 9), (4, 6)])
def test_dualpipe_says_which_numbers_it_does_not_take(ranks, microbatches):
    with pytest.raises(NotApplicable, match=r"even number|at least two"):
        dualpipe.rows(ranks, microbatches)
