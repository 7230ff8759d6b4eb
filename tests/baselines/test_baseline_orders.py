"""The orders of baselines are those of the reference implementations."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from planner.baselines import SCHEDULES
from planner.baselines.action import NotApplicable
from planner.baselines.greedy import Greedy
from planner.baselines.row import Rows, row_of

RECORDED = json.loads((Path(__file__).parents[1] / "data" / "reference_orders.json").read_text())
REFERENCE, DIGESTS = RECORDED["schedules"], RECORDED["digests"]


def label(reference: dict) -> str:
    chunks = f"x{reference['chunks']}" if "chunks" in reference else ""
    return f"{reference['baseline']}-{reference['ranks']}x{reference['microbatches']}{chunks}"


def rows_of(name: str, ranks: int, microbatches: int, chunks: int | None = None) -> Rows:
    return SCHEDULES[name].rows(ranks, microbatches, chunks or SCHEDULES[name].chunks)


def written(rows: Rows) -> list[str]:
    return [",".join(map(str, row)) for row in rows]


def peaks(rows: Rows, until: str) -> list[int]:
    """Most microbatches of full stages in flight on each rank, until I or W; a fused F counts first."""
    out = []
    for row in rows:
        held = most = 0
        for stage_pass in (stage_pass for action in row for stage_pass in action.passes):
            held += stage_pass.kind == "F"
            most = max(most, held)
            held -= stage_pass.kind in ("B", until)
        out.append(most)
    return out


def passes(row) -> Counter:
    """How often each F, I and W (of stage, copy and microbatch) stands in a row; B is I and W."""
    stage_passes = (stage_pass for action in row for stage_pass in action.passes)
    return Counter(
        (kind, *stage_pass[1:])
        for stage_pass in stage_passes
        for kind in ("IW" if stage_pass.kind == "B" else stage_pass.kind)
    )


@pytest.mark.parametrize("reference", REFERENCE, ids=label)
def test_order_and_activations_equal_the_reference_implementation(reference):
    rows = rows_of(reference["baseline"], reference["ranks"], reference["microbatches"], reference.get("chunks"))
    assert written(rows) == reference["rows"]
    assert peaks(rows, "I") == reference["peak"]
    assert peaks(rows, "W") == reference["peak_w"]


@pytest.mark.parametrize(("name", "size"), [(name, size) for name in DIGESTS for size in DIGESTS[name]])
def test_orders_equal_the_reference_implementation_at_other_sizes(name, size):
    """Odd and even numbers of ranks, too few microbatches to fill the pipeline, and many."""
    rows = rows_of(name, *map(int, size.split("x")))
    assert hashlib.sha256("\n".join(written(rows)).encode()).hexdigest().startswith(DIGESTS[name][size])


@pytest.mark.parametrize("name", [name for name in SCHEDULES if not name.startswith("dualpipe")])
@pytest.mark.parametrize(("ranks", "microbatches"), [(1, 1), (1, 5), (2, 1), (4, 2), (5, 16), (6, 5), (3, 20)])
def test_every_pass_of_every_microbatch_stands_in_the_order_once(name, ranks, microbatches):
    schedule = SCHEDULES[name]
    if name == "interleaved-1f1b":  # takes whole rounds only: three a rank here
        microbatches = 3 * ranks
    ((*host,),) = schedule.layout(ranks, schedule.chunks)
    for r, row in enumerate(rows_of(name, ranks, microbatches)):
        there = [s for s, rank in enumerate(host) if rank == r]
        assert passes(row) == {(kind, s, 0, m): 1 for kind in "FIW" for s in there for m in range(microbatches)}


@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 4), (2, 6), (6, 12), (6, 26), (10, 20), (16, 40)])
def test_dualpipe_runs_every_stage_of_both_copies_for_their_halves(ranks, microbatches):
    for r, row in enumerate(rows_of("dualpipe", ranks, microbatches)):
        half = microbatches // 2
        near = {(kind, r, 0, m): 1 for kind in "FIW" for m in range(half)}
        far = {(kind, ranks - 1 - r, 1, m): 1 for kind in "FIW" for m in range(half, microbatches)}
        assert passes(row) == {**near, **far}


@pytest.mark.parametrize(("ranks", "microbatches"), [(1, 2), (2, 4), (3, 7), (5, 10), (16, 40)])
def test_dualpipev_runs_both_stages_of_a_rank_for_all_microbatches(ranks, microbatches):
    for r, row in enumerate(rows_of("dualpipev", ranks, microbatches)):
        there = (r, 2 * ranks - 1 - r)
        assert passes(row) == {(kind, s, 0, m): 1 for kind in "FIW" for s in there for m in range(microbatches)}


@pytest.mark.parametrize(
    ("name", "ranks", "microbatches", "reason"),
    [
        ("dualpipe", 5, 20, "even number of devices"),
        ("dualpipe", 4, 9, "even number of microbatches"),
        ("dualpipe", 4, 6, "at least two microbatches per device"),
        ("dualpipev", 4, 7, "at least two microbatches per device"),
        ("interleaved-1f1b", 4, 9, "2 does not divide 9"),
    ],
)
def test_schedules_say_which_numbers_they_do_not_take(name, ranks, microbatches, reason):
    with pytest.raises(NotApplicable, match=reason):
        rows_of(name, ranks, microbatches)


@pytest.mark.parametrize(("ranks", "microbatches"), [(4, 4), (4, 10), (4, 3), (7, 21), (16, 48)])
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_interleaved_holds_a_round_of_all_chunks_but_one_and_two_a_rank_that_follows(ranks, microbatches, chunks):
    """Rounds of 10 microbatches on 4 ranks are of 5; with one chunk it is ahead of 1F1B."""
    in_round = microbatches // max(1, microbatches // ranks)
    most = min(microbatches * chunks, (chunks - 1) * in_round + 2 * (ranks - 1) + 1)
    assert max(peaks(rows_of("interleaved-1f1b", ranks, microbatches, chunks), "I")) == most


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("zb2p", {4: 7, 8: 15, 16: 31}),
        ("zbv", {4: 8, 8: 16, 16: 32}),
        ("v-half", {4: 6, 8: 10, 16: 18}),
        ("v-min", {4: 4, 8: 8, 16: 12}),
        ("dualpipev", {4: 9, 8: 17, 16: 33}),
    ],
)
def test_activations_are_those_of_the_papers(name, held):
    """Most of a rank until I ends, in stages of the schedule (half a device's work where it has two chunks)."""
    for ranks, most in held.items():
        assert max(peaks(rows_of(name, ranks, 3 * ranks), "I")) == most


@pytest.mark.parametrize(("name", "ranks", "microbatches"), [("zb2p", 1, 19), ("zb2p", 6, 90), ("zbv", 5, 70)])
def test_rounds_that_repeat_are_put_in_order_as_if_they_had_been_played(monkeypatch, name, ranks, microbatches):
    leaps = []
    leap = Greedy.leap
    monkeypatch.setattr(Greedy, "leap", lambda play: leaps.append(leap(play)) or leaps[-1])
    rows = written(rows_of(name, ranks, microbatches))
    assert sum(leaps) > microbatches / 2, "little has been left out: the test compares nothing"
    monkeypatch.setattr(Greedy, "leap", lambda play: 0)
    assert written(rows_of(name, ranks, microbatches)) == rows


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_row_made_of_the_actions_of_a_row_has_the_same_columns(name):
    for row in rows_of(name, 4, 12):
        again = row_of(list(row))
        assert list(again) == list(row)
        assert len(again) == len(row) == sum(len(kind.places) for kind in row.kinds)
        columns = [
            {str(kind.action): (kind.places.tolist(), kind.microbatches.tolist()) for kind in each.kinds}
            for each in (row, again)
        ]
        assert columns[0] == columns[1]
        forwards = [action for action in row if action.passes[0].kind == "F" and len(action.passes) == 1]
        if not name.startswith("dualpipe"):
            assert list(row.forwards()) == forwards
