"""MicrobatchGroups of microbatches: sizes, keys, and the pattern without gaps that they are for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from solver_problems import looped, operator, posed, unit_cluster

from planner.problem import Placement
from planner.scheduling.classes import build_classes
from planner.scheduling.list.kernel import run
from planner.scheduling.list.microbatch_groups import MicrobatchGroups, flows, known_groups, random_groups
from planner.scheduling.list.rules import RULES, Rule, Scales


@pytest.mark.parametrize("microbatches", [1, 2, 7, 40, 121])
def test_sizes_hold_every_microbatch(microbatches: int) -> None:
    """Whatever is drawn or varied, the groups hold all microbatches, and none is empty."""
    search, rng = looped(microbatches), np.random.default_rng(microbatches)
    rule = random_groups(rng, search.scales)
    for _ in range(100):
        for sizes in (rule.sizes(microbatches), rule.sizes_back(microbatches)):
            assert sum(sizes) == microbatches
            assert min(sizes) >= 1
        rule = rule.nearby(rng) if rng.random() < 0.8 else random_groups(rng, search.scales)


def test_uneven_groups_are_the_first_and_the_last() -> None:
    """The microbatches that the two ends have more are taken from all others alike."""
    assert MicrobatchGroups(4).sizes(40) == [10, 10, 10, 10]
    assert MicrobatchGroups(4, first_more=2, last_more=2).sizes(40) == [11, 9, 9, 11]
    assert MicrobatchGroups(3).sizes(2) == [1, 1]


def test_microbatches_that_wait_go_back_with_the_next_group() -> None:
    """The last of each group; of a group as small as that, all but one; nothing waits where there is one group."""
    rule = MicrobatchGroups(3, carried=2)
    assert (rule.sizes(30), rule.sizes_back(30)) == ([10, 10, 10], [8, 10, 12])
    assert replace(rule, carried=99).sizes_back(30) == [1, 10, 19]
    assert replace(rule, groups=1).sizes_back(30) == [30]
    search = looped(30)
    waits = rule.keys(search.keying, search.scales) > replace(rule, carried=0).keys(search.keying, search.scales) + 0.1
    backward = (search.classes.pass_ == 1) & (search.classes.target < 0)
    assert waits[backward][:, [8, 9, 18, 19]].all()
    assert not waits[backward][:, :8].any()
    assert not waits[search.classes.pass_ == 0][:, :20].any()


def test_what_is_held_for_a_short_time_limits_groups_less() -> None:
    """Four layers on two devices in turn, the head on the second: forward, a round is 1.5 s of work for that device.

    A microbatch takes 80 bytes there. But of a group of four, following each other by 1.5 s, at most 2 / 1.5 + 1 hold
    what the head takes for two seconds, and 4 / 1.5 + 1 what the last layer takes for four.
    """
    times = (1.0, 1.0)
    layers = [operator(f"layer{i}", *([f"layer{i - 1}"] if i else []), times=times, activation=20.0) for i in range(4)]
    head = operator("head", "layer3", times=times, activation=40.0)

    def group(memory: float) -> float:
        """The microbatches of a group."""
        problem = posed(*layers, head, devices=unit_cluster(2, memory), microbatches=40)
        return 40 / Scales.of(build_classes(problem, Placement.single((0, 1, 0, 1, 1)))).fills

    layer, last, logits = 20.0, 20.0 * (4.0 / 1.5 + 1.0), 40.0 * (2.0 / 1.5 + 1.0)
    assert group(4 * layer + last + logits) == pytest.approx(4.0)
    assert group(4.5 * layer + last + logits) == pytest.approx(4.5)
    assert group(2 * (layer + layer + 40.0)) == pytest.approx(2.0)
    assert group(1_000.0) == 40.0


def test_keys_task_by_task() -> None:
    """The keys of random rules, each worked out by itself."""
    search = looped(23)
    classes, scales = search.classes, search.scales
    rng = np.random.default_rng(2)
    turn = min(float(classes.head[a]) for a in range(classes.n) if classes.pass_[a] == 1 and classes.target[a] < 0)
    whole = (turn, max(classes.head) - turn)
    share = scales.microbatch / scales.stage_rounds
    for _ in range(4):
        rule = random_groups(rng, scales).nearby(rng, 0.3)
        both = rule.sizes(23), rule.sizes_back(23)
        keys = rule.keys(search.keying, scales)
        part = scales.forward_share
        together = [(1 - part) * n + part * f for n, f in zip(both[1], [*both[0][1:], both[0][-1]], strict=True)]
        for a, k in zip(rng.integers(classes.n, size=60).tolist(), rng.integers(23, size=60).tolist(), strict=True):
            pass_ = min(1, int(classes.pass_[a]))
            sizes = both[pass_]
            g = next(g for g in range(len(sizes)) if k < sum(sizes[: g + 1]))
            within = k - sum(sizes[:g])
            due = rule.turn * turn + rule.spacing * scales.microbatch * sum(together[:g])
            meets, ramp = together[g], g == len(sizes) - 1
            if pass_ == 0:
                meets, ramp = (sizes[0] if g == 0 else together[g - 1]), g == 0
                before = rule.turn * turn + rule.spacing * scales.microbatch * sum(together[: g - 1])
                due = 0.0 if g == 0 else before + rule.meeting * scales.microbatch
            pace = ((rule.forward_pace, rule.backward_pace), (rule.fill_pace, rule.drain_pace))[ramp][pass_]
            if ramp:
                deep = (rule.fill_depth, rule.drain_depth)[pass_] * (classes.head[a] - (turn if pass_ else 0.0))
            else:
                stage_round = int(classes.stage_round[a])
                on_lap = [
                    classes.head[b]
                    for b in range(classes.n)
                    if classes.stage_round[b] == stage_round and classes.pass_[b] == pass_ and classes.target[b] < 0
                ]
                stride = (rule.forward_stride, rule.backward_stride)[pass_] * share * 8
                each = min(meets * scales.microbatch / scales.stage_rounds, stride)
                done = stage_round if pass_ == 0 else scales.stage_rounds - 1 - stage_round
                deep = done * meets * scales.microbatch / scales.stage_rounds
                deep += (classes.head[a] - min(on_lap)) / (whole[pass_] / scales.stage_rounds) * each
                deep *= (rule.forward_depth, rule.backward_depth)[pass_]
                pace *= meets / sizes[g]
            waits = (rule.weight_offset + rule.deferrable_offset * classes.deferrable[a]) * scales.microbatch
            key = due + pace * share * within + deep + (waits if classes.pass_[a] == 2 else 0.0)
            assert keys[a, k] == pytest.approx(key)


def test_what_gives_back_no_memory_may_wait() -> None:
    """Of DeepSeek-V3's weight gradients only attention's give back an activation; those of experts are put off."""
    search = looped(20)
    classes, scales = search.classes, search.scales
    name = [classes.problem.operators[i].name for i in classes.operator]
    assert scales.deferrable
    assert [a for a in range(classes.n) if classes.deferrable[a]] == [
        a for a in range(classes.n) if classes.pass_[a] == 2 and name[a].endswith("experts")
    ]
    for rule, later in (
        (MicrobatchGroups(2), MicrobatchGroups(2, deferrable_offset=5.0)),
        (Rule(2), Rule(2, deferrable_offset=5.0)),
    ):
        wait = later.keys(search.keying, scales) - rule.keys(search.keying, scales)
        assert wait[classes.deferrable] == pytest.approx(5.0 * scales.microbatch)
        assert (wait[~classes.deferrable] == 0.0).all()
        assert search.try_rule(later) < np.inf
    for microbatches, drawn in ((20, True), (40, False)):  # two groups, four
        scales = looped(microbatches).scales
        assert any(random_groups(np.random.default_rng(k), scales).deferrable_offset for k in range(9)) == drawn


def test_no_gap_between_warm_up_and_drain() -> None:
    """Between warm-up and drain compute works nearly all the time; known rules without groups take a fifth longer.

    The scales are those of the config: four layers a device, a microbatch's work is that of four layers.
    """
    search = looped(40)
    scales = search.scales
    assert (scales.stage_rounds, scales.groups) == (4, 4)
    assert scales.microbatch == pytest.approx(4 * 31.0715e-3)
    assert scales.forward_share == pytest.approx((4.36975 + 4.60375) / 31.0715)
    assert flows(search.classes, scales)
    best = min(known_groups(scales), key=search.try_rule)
    others = min(
        run(search.arrays, rule.keys(search.keying, scales), rule.look, reserve=rule.reserve).makespan for rule in RULES
    )
    assert search.best is not None
    assert search.makespan < 0.85 * others
    classes = search.classes
    played = run(search.arrays, best.keys(search.keying, scales), best.look, reserve=True)
    assert played.makespan == search.makespan
    begin, end = 2.5, 4.5
    for device in range(8):
        work = 0.0
        for a in range(classes.n):
            if classes.resources[a][0] == 2 * device:
                start = played.start[a] * classes.tick
                stop = start + classes.seconds[a]
                work += np.clip(np.minimum(stop, end) - np.maximum(start, begin), 0.0, None).sum()
        assert work > 0.985 * (end - begin)


@pytest.mark.parametrize(("size", "least", "most"), [(9, 0.0, 0.001), (10, 0.06, 0.09)])
def test_how_large_groups_may_be(size: int, least: float, most: float) -> None:
    """Where two groups meet, nine microbatches leave no gap; ten lack 2.2 slots' memory and lose some 70 ms each time.

    Six groups: the second and the third meeting, far from warm-up and drain.
    """
    search = looped(6 * size)
    classes, work = search.classes, search.scales.microbatch * size
    compute = [a for a in range(classes.n) if classes.target[a] < 0 and classes.resources[a][0] % 2 == 0]
    seconds = classes.seconds[compute][:, None]
    begin = 1.1 + 1.5 * work  # the first input gradients are due after 0.8 s
    idle = []
    for offset in (0.25, 0.5):
        rule = MicrobatchGroups(6, meeting=0.0, weight_offset=offset)
        played = run(search.arrays, rule.keys(search.keying, search.scales), rule.look, reserve=True)
        start = played.start[compute] * classes.tick
        busy = np.clip(np.minimum(start + seconds, begin + 2 * work) - np.maximum(start, begin), 0.0, None).sum()
        idle.append(2 * work - busy / 8)
    assert least <= min(idle) / 2 + 1e-9
    assert min(idle) / 2 <= most
