"""What the baselines achieve: the figures of the papers and of our recordings."""

from dataclasses import replace

import pytest
from baseline_problems import chain, cluster, deepseek, operator, problem, violations
from test_baseline_orders import REFERENCE, label

from planner.baselines import BASELINES, NotApplicable, baseline_timetable
from planner.baselines.action import action
from planner.baselines.registry import SCHEDULES, Schedule
from planner.baselines.row import row_of
from planner.problem import Mode, Stream
from planner.timetable.figures import figures

UNEVEN = (1.0, 1.2, 0.8)


def makespan(name, p):
    timetable = baseline_timetable(name, p)
    assert violations(timetable, p) == []
    return timetable.makespan(p)


def recorded(reference, *args):
    """The chain of a recording: as many equal operators as stages."""
    ranks, chunks = reference["ranks"], reference.get("chunks")
    p = chain(ranks, reference["microbatches"], *args, length=ranks * (chunks or 1))
    return replace(p, chunks=chunks)


@pytest.mark.parametrize("reference", REFERENCE, ids=label)
def test_makespans_equal_the_reference_replay(reference):
    name = reference["baseline"]
    assert makespan(name, recorded(reference)) == reference["unit"]
    uneven = makespan(name, recorded(reference, UNEVEN, 0.1))
    schedule = SCHEDULES[name]
    if schedule.fused:
        # Two outputs may leave over one channel when a block ends. The recording lets them go at once.
        assert reference["uneven"] < uneven < reference["uneven"] + 0.1 * schedule.chunks * reference["microbatches"]
    else:
        assert uneven == pytest.approx(reference["uneven"])
    if name == "dualpipe":
        assert makespan("dualpipe-unfused", recorded(reference)) == reference["unit_sequential"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpipe", 81),
        ("1f1b", 81),
        ("interleaved-1f1b", 141),
        ("zb1p", 67),
        ("zb2p", 67),
        ("zbv", 127),
        ("v-half", 137),
        ("v-min", 147),
        ("dualpipe", 66),
        ("dualpipe-unfused", 63),
        ("dualpipev", 134),
    ],
)
def test_eight_devices_twenty_microbatches(name, expected):
    """A stage of a schedule with two chunks is half of a device's work: 141 stands for 70.5."""
    assert makespan(name, chain(8, 20, length=8 * SCHEDULES[name].chunks)) == expected


def test_dualpipe_with_uneven_passes_and_free_transfers():
    """7.2 of bubble; the published formula says 7.8, which is exact only for F = I = W."""
    assert makespan("dualpipe", chain(8, 20, UNEVEN)) == pytest.approx(60 + 7.2)


@pytest.mark.parametrize(("ranks", "microbatches"), [(2, 4), (6, 14), (6, 12), (12, 30)])
def test_formulas_hold_beyond_the_recorded_sizes(ranks, microbatches):
    p = chain(ranks, microbatches)
    work = 3 * microbatches
    assert makespan("gpipe", p) == makespan("1f1b", p) == work + 3 * (ranks - 1)
    assert makespan("zb1p", p) == work + ranks - 1
    assert makespan("dualpipe", p) == work + (ranks // 2 - 1) * 2
    assert makespan("dualpipe-unfused", p) == work + ranks // 2 - 1
    assert makespan("zb2p", p) == work + ranks - 1
    halves = chain(ranks, microbatches, length=2 * ranks)
    assert makespan("zbv", halves) == 2 * work + ranks - 1
    assert makespan("dualpipev", halves) == 2 * work + 2 * (ranks - 1)
    rounds = chain(ranks, 2 * ranks, length=2 * ranks)
    assert makespan("interleaved-1f1b", rounds) == 2 * 6 * ranks + 3 * (ranks - 1)


@pytest.mark.parametrize("name", ["zb2p", "zbv"])
def test_zero_bubble_schedules_have_none_within_the_span_of_a_device(name):
    """The figure of the papers, for steps that follow each other without a flush."""
    p = chain(6, 12, length=6 * SCHEDULES[name].chunks)
    assert figures(p, baseline_timetable(name, p)).span_bubble_ratio == 0


def test_deepseek_v3_measured_operators():
    """32 layers, 8 devices, 20 microbatches, 1.2 ms between devices, milliseconds.

    Replays without contention on the channels give 3990 for DualPipe; contention adds half a percent.
    """
    p = deepseek()
    fused, unfused = makespan("dualpipe", p), makespan("dualpipe-unfused", p)
    assert fused == pytest.approx(3990, rel=0.01)
    assert unfused < fused
    for name in ("gpipe", "1f1b", "zb1p"):
        assert makespan(name, p) > fused


def test_baselines_on_a_graph_with_branches_two_streams_and_exclusive_transfers():
    operators = [operator("in", (1.0, 0.0), activation=1.0)]
    for k in range(11):
        reads = ("in",) if k == 0 else tuple({f"o{k - 1}", f"o{max(0, k - 3)}", "in" if k % 4 == 2 else "o0"})
        stream = Stream.COMM if k % 3 == 2 else Stream.COMPUTE
        times = (1.0 + k % 2, 1.5) if k % 3 == 2 else (1.0 + k % 2, 1.5, 0.5)
        operators.append(operator(f"o{k}", times, reads, stream=stream))
    for exclusive in (False, True):
        p = problem(operators, cluster(4, 0.3, exclusive), 8)
        for name in BASELINES:
            assert makespan(name, p) > 0


def test_inference_runs_the_forwards_of_gpipe_and_1f1b_alone():
    p = chain(4, 6, latency=0.5, mode=Mode.INFERENCE)
    assert makespan("gpipe", p) == makespan("1f1b", p) == 6 + 3 * 1.5
    for name in (name for name, schedule in SCHEDULES.items() if not schedule.forwards):
        with pytest.raises(NotApplicable, match="inference"):
            baseline_timetable(name, p)


def test_schedules_in_a_v_go_there_and_back_and_have_two_chunks():
    p = chain(4, 8, length=8)
    for name in ("zbv", "v-half", "v-min", "dualpipev"):
        assert baseline_timetable(name, p).placement.device_of == ((0, 1, 2, 3, 3, 2, 1, 0),)
        with pytest.raises(NotApplicable, match="two chunks on every device, there and back, not 3"):
            baseline_timetable(name, replace(p, chunks=3))


@pytest.mark.parametrize(
    ("devices", "microbatches", "reason"),
    [(3, 20, "even number of dev"), (4, 7, "even number of mic"), (4, 6, "8 for 4")],
)
def test_dualpipe_does_not_apply(devices, microbatches, reason):
    with pytest.raises(NotApplicable, match=reason):
        baseline_timetable("dualpipe", chain(devices, microbatches))


def test_fewer_operators_than_devices_use_the_first_devices():
    p = chain(8, 8, length=3)
    assert {baseline_timetable("1f1b", p).device(i, 0) for i in range(3)} == {0, 1, 2}
    assert set(baseline_timetable("dualpipe", p).placement.device_of[0]) == {0, 1}
    with pytest.raises(NotApplicable, match="at least 2 stages"):
        baseline_timetable("dualpipe", chain(8, 8, length=1))


def breadth_first(ranks, microbatches, chunks):
    """torch's ``ScheduleLoopedBFS``, which is no baseline here: all forwards, then all backwards, by chunk."""
    stages = [[r + ranks * c for c in range(chunks)] for r in range(ranks)]
    return [
        row_of(
            [action("F", s, m) for s in mine for m in range(microbatches)]
            + [action("B", s, m) for s in reversed(mine) for m in reversed(range(microbatches))]
        )
        for mine in stages
    ]


@pytest.mark.parametrize("fused", [False, True])
def test_a_new_schedule_of_several_chunks_a_device_is_one_entry(monkeypatch, fused):
    """4 ranks, 8 microbatches, 2 chunks as recorded from torch 2.13."""
    monkeypatch.setitem(SCHEDULES, "bfs", Schedule("BFS", breadth_first, chunks=2, fused=fused))
    assert makespan("bfs", chain(4, 8, length=8)) == 57
    assert makespan("bfs", chain(4, 8, UNEVEN, 0.1, length=8)) == pytest.approx(57.6)
    assert makespan("bfs", replace(chain(4, 8, length=12), chunks=3)) == 3 * 3 * 8 + 9


def test_operators_that_the_order_of_devices_cannot_serve():
    last_first = operator("a", (1.0, 1.0), devices=("d1",))
    p = problem([last_first, operator("b", (1.0, 1.0), ("a",), devices=("d0",))], cluster(2), 4)
    with pytest.raises(NotApplicable, match="no contiguous stages"):
        baseline_timetable("gpipe", p)
