"""What the race of scripts/race.py rests on: its cases, its arithmetic, its page.

The rivals: tests/repository/race_rivals.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from racing import shop, whole
from racing.cases import WHOLE, Case, cases
from racing.course import check, told
from racing.data import FLEXIBLE, LAWRENCE, flexible_job_shop, job_shop
from racing.general import GROUPS, TASKS_AT_MOST, general
from racing.measure import Ratio, behind, best, geometric_mean, losses, proof, ratio, reached, shortfalls, strongest
from racing.page import growth, page
from racing.plot import plot
from racing.problem import read, write

NAMED = {case.name: case for case in cases()}


def run(*incumbents: tuple[float, float], limit: float = 60.0, **more: object) -> dict[str, object]:
    found = {"incumbents": [list(i) for i in incumbents], "bounds": [], "limit": limit, "seconds": limit, **more}
    return {"when": "2026-01-01 00:00", "commit": "abc", **found}


def test_names_tell_cases_apart() -> None:
    assert len(NAMED) == len(cases())
    assert {case.group for case in cases() if not case.regular} == {"measured stages"}


@pytest.mark.parametrize("name", ["unit-4x8", "uneven-4x8-transfer", "zb-8x24-h2304-1p", "vshape-4x20", "mk01", "ft06"])
def test_the_greedy_schedule_of_a_case_is_a_valid_plan(name: str, tmp_path: Path) -> None:
    """It keeps to all rules, so the tasks that rivals are given say nothing but the rules."""
    case = NAMED[name]
    write(case, tmp_path)
    problem = read(tmp_path, case.flags)
    placement = shop.placement_of(case.placement, problem)
    tasks = shop.build(problem, placement)
    ends = [s + tasks.options[t][w][1] for t, (s, w) in enumerate(zip(tasks.start, tasks.way, strict=True))]
    check(problem, shop.timetable(problem, placement, tasks, tasks.start, tasks.way), max(ends) * tasks.tick)
    assert case.known is None or max(ends) * tasks.tick >= case.known


def test_a_plan_that_forgets_a_rule_is_found_out(tmp_path: Path) -> None:
    case = NAMED["unit-4x8"]
    write(case, tmp_path)
    problem = read(tmp_path, case.flags)
    placement = shop.placement_of(case.placement, problem)
    tasks = shop.build(problem, placement)
    with pytest.raises(Exception, match="violations"):
        check(problem, shop.timetable(problem, placement, tasks, [0] * len(tasks.start), tasks.way), 1.0)


def test_job_shops_have_the_jobs_and_machines_of_their_sources() -> None:
    for _, text in LAWRENCE.values():
        jobs = job_shop(text)
        assert len(jobs) == 10
        assert all(sorted(machine for ((machine, _),) in job) == [0, 1, 2, 3, 4] for job in jobs)
    for machines, _, text in FLEXIBLE.values():
        assert {m for job in flexible_job_shop(text) for step in job for m, _ in step} == set(range(machines))
    with pytest.raises(ValueError, match="more numbers"):
        flexible_job_shop("1 1 0 5 7")


def test_time_to_quality() -> None:
    ours, theirs = run((1, 70), (2, 63)), run((0.5, 80), (20, 65), (40, 64))
    assert (reached(ours["incumbents"], 64), reached(ours["incumbents"], 62)) == (2, None)
    assert ratio(ours, theirs) == Ratio(20.0)
    assert ratio(theirs, ours) == Ratio(2 / 60, "<")  # 63 was never reached: at best at the limit
    assert ratio(ours, run()) == Ratio(60.0, ">")
    assert ratio(run(), run()) is None
    assert behind(ours["incumbents"], theirs["incumbents"], 60) == 0.5  # from the first plan until ours
    assert behind(theirs["incumbents"], ours["incumbents"], 60) == pytest.approx(19 + 40)
    assert geometric_mean([4, 9]) == pytest.approx(6) and geometric_mean([]) is None


def test_losses_are_named() -> None:
    assert losses({"ours": run((1, 63)), "cpsat": run((20, 63))}) == []
    (late,) = losses({"ours": run((4, 63)), "cpsat": run((3.97, 63))})
    assert late == "its makespan 1.01 times later"
    assert losses({"ours": run((1, 64)), "cpsat": run((20, 63))})[0] == "makespan 1.59% above CP-SAT's"
    assert losses({"ours": run(), "cpsat": run((20, 63))}) == ["no plan, CP-SAT has one"]


def test_the_better_model_of_cp_sat_counts() -> None:
    runs = {"cpsat": run((20, 63)), "cpsat-ordered": run((10, 63)), "ours": run((1, 63))}
    assert strongest(runs) is runs["cpsat-ordered"]
    assert best(strongest({"cpsat": run(), "cpsat-ordered": run((3, 70))})) == 70
    assert strongest({"ours": run()}) is None


def test_lines_of_a_racer() -> None:
    lines = ["makespan 63 s", '{"t": 1.5, "best": 64, "bound": 60}', '{"t": 2, "status": "optimal"}', '{"t": 3, "be']
    assert told(lines) == {"incumbents": [[1.5, 64]], "bounds": [[1.5, 60]], "status": "optimal"}


def test_page_and_plot_name_every_case() -> None:
    ours = run((1, 64), makespan=64.0, lower_bound=63.0, status="feasible")
    bigm = run(status="not built", reason="too many order variables")
    runs = {"ours": ours, "cpsat": run((20, 63)), "bigm": bigm, "heuristics": run((0.5, 66))}
    case = {"name": "unit-8x20", "group": "unit times", "known": None, "runs": runs}
    results = {"machine": "2 cores.", "cases": {"unit-8x20": case}}
    text = page(results, "race.svg")
    assert "| unit-8x20 | 64 | 63 | 1.56% |" in text
    assert "- unit-8x20: makespan 1.59% above CP-SAT's" in text and "too many order variables" in text
    assert "**0.333 times faster**" in text
    assert ">unit-8x20</text>" in plot(results)


def test_page_says_how_time_grows_with_the_microbatches() -> None:
    took = {"unit-8x20": 2.0, "unit-8x200": 2.5, "unit-8x2000": 3.0}
    cases = [{"name": name, "runs": {"ours": run(seconds=seconds)}} for name, seconds in took.items()]
    assert set(took) <= set(NAMED)
    assert "unit-8x200 takes 1.25 times and unit-8x2000 takes 1.50 times as long as for unit-8x20" in growth(cases)
    assert growth(cases[1:]) == ""


def test_cases_pose_what_they_say(tmp_path: Path) -> None:
    def posed(case: Case) -> tuple[int, int, float]:
        write(case, tmp_path)
        problem = read(tmp_path, case.flags)
        return problem.n_devices, problem.microbatches, float(problem.cap[0])

    assert posed(NAMED["unit-8x20"]) == (8, 20, 11)
    assert posed(NAMED["unit-8x20-room7"]) == (8, 20, 9)
    assert posed(NAMED["vshape-8x20"]) == (8, 20, 18)
    assert posed(NAMED["zb-16x48-h5120-2p"]) == (16, 48, 33)


GENERAL = [case for case in cases() if case.placement == WHOLE]


def test_general_problems_are_the_same_each_time() -> None:
    assert list(general()) == list(general())
    assert {case.group for case in GENERAL} == set(GROUPS)


@pytest.mark.parametrize("case", GENERAL, ids=[case.name for case in GENERAL])
def test_a_general_problem_is_what_its_group_says(case: Case, tmp_path: Path) -> None:
    write(case, tmp_path)
    problem = read(tmp_path, case.flags)
    tables = whole.build(problem)
    assert (tables.tick, tables.copies) == (1.0, problem.copies)
    little = case.name.startswith("little")
    assert problem.n_operators <= (5 if little else 12) and problem.microbatches <= (3 if little else 8)
    assert little or problem.copies == 1
    if case.name.startswith("middle"):
        assert int(problem.has_pass.sum()) * problem.microbatches <= TASKS_AT_MOST
    if case.name.startswith("mixed"):
        assert len(problem.device_classes) > 1


def test_general_problems_have_some_of_everything(tmp_path: Path) -> None:
    found = []
    for case in GENERAL:
        write(case, tmp_path)
        found.append(read(tmp_path, case.flags))
    assert {problem.copies for problem in found} == {1, 2}
    assert {problem.training for problem in found} == {True, False}
    assert any(problem.exclusive.any() for problem in found) and any(problem.on_comm.any() for problem in found)
    assert any(max(map(max, table)) for problem in found for table in whole.build(problem).transfer)
    assert {cap is None for problem in found for cap in whole.build(problem).cap} == {True, False}


def test_tables_of_a_whole_problem(tmp_path: Path) -> None:
    """Two operators of one second on two devices; the schedule on both, sent from one to the other, is a valid plan."""
    graph = (
        "schema: planner/graph@1\nname: pair\nmode: inference\noperators:\n"
        "  - {name: a, time: {forward: 1}, output: 2, activation: 3}\n"
        "  - {name: b, time: {forward: 1}, inputs: [a], activation: 1}\n"
    )
    cluster = (
        "schema: planner/cluster@1\nname: two\ndevice_types:\n  x: {memory: 3}\n"
        "devices:\n  - {name: x, type: x, count: 2}\nnetwork:\n  within_node: {bandwidth: 1 B/s}\n"
    )
    case = Case("pair", GROUPS[0], graph, cluster, ("--copies", "2"), WHOLE)
    write(case, tmp_path)
    problem = read(tmp_path, case.flags)
    tables = whole.build(problem)
    assert (tables.tick, tables.transfer[0]) == (1.0, [[0, 2], [2, 0]])
    assert tables.activation[0] <= (tables.cap[0] or 0) < tables.activation[0] + tables.activation[1]
    found = {"copy_of": [1], "device_of": [[0, 0], [0, 1]], "start": [[0, 0, 0, 0], [1, 0, 0, 3]]}
    sent = [[0, 0, 0, 0, 1, 1]]
    made = whole.timetable(problem, tables, {**found, "sent": sent})
    assert made.placement.device_of == ((0, 1),), "the copy that no microbatch uses is left out"
    check(problem, made, 4.0)
    with pytest.raises(Exception, match="violations"):
        check(problem, whole.timetable(problem, tables, {**found, "sent": []}), 4.0)


def test_seconds_to_a_proof() -> None:
    assert proof(run((1, 64), (2, 63), bounds=[[0.5, 60], [3, 63]])) == 3
    assert proof(run((4, 63), bounds=[[3, 63]])) == 4
    assert proof(run((1, 64), bounds=[[3, 63]], lower_bound=63)) is None
    assert proof(run((1, 63), lower_bound=63, seconds=5)) == 5, "the bound was never reported, but the plan has it"
    assert proof(run(status="infeasible", seconds=2)) == 2
    assert proof(run()) is None and proof(None) is None


def test_shortfalls_are_of_plans_and_proofs() -> None:
    proven = run((1, 63), bounds=[[9, 63]])
    assert shortfalls(proven, run((0.5, 63), bounds=[[0.6, 63]])) == []
    (words,) = shortfalls(run((1, 64)), run((9, 63)))
    assert words == "makespan 1.59% above CP-SAT's"
    assert shortfalls(run((1, 63)), proven) == ["CP-SAT proves it, planner does not"]
    assert shortfalls(run(), proven)[0] == "no plan, CP-SAT has one"
    assert shortfalls(run(), run(status="infeasible")) == ["CP-SAT proves it, planner does not"]


def test_general_problems_have_a_section_of_their_own() -> None:
    ours = run((1, 40), bounds=[[0.5, 39]], makespan=40.0, lower_bound=39.0, status="feasible")
    better = {"ours": ours, "cpsat": run((2, 39), bounds=[[3, 39]])}
    none = {"ours": run(status="infeasible", seconds=1.0), "cpsat": run(status="infeasible", seconds=0.5)}
    kept = {
        name: {"name": name, "group": GROUPS[0], "known": None, "runs": runs}
        for name, runs in (("little-1", better), ("little-2", none))
    }
    text = page({"machine": "2 cores.", "cases": kept}, "race.svg")
    assert "| little-1 | 40 | 39 | 1.0 | - | 39 | 39 | 2.0 | 3.0 | makespan 2.56% above CP-SAT's; CP-SAT" in text
    assert "| little-2 | none | - | - | 1.0 | none | - | - | 0.5 |  |" in text
    assert "| all | 2 | 1 | 2 | 0 | 1 | 1.00 | 0.50 |" in text
    assert "of 2 problems it has the shorter plan in 1, alone has a proof\nin 1, and has its proof sooner" in text
    assert "- little-1: makespan" in text and "Without a result" not in text
    assert "little-1" not in plot({"machine": "", "cases": kept})
