"""Orders into times: order, transfers, exclusive devices, memory, deadlocks, and the way back."""

import itertools
import random

import numpy as np
import pytest

from planner.problem import (
    PASS_ORDER,
    Cluster,
    Device,
    DeviceType,
    Graph,
    Mode,
    NetworkLevel,
    Operator,
    Placement,
    Problem,
    Stream,
)
from planner.timetable.replay import orders_of, replay

F, I, W = 0, 1, 2


def pose(operators, devices=2, microbatches=1, latency=None, exclusive=(), mode=Mode.INFERENCE):
    kinds = [DeviceType(f"t{d}", exclusive_transfers=d in exclusive) for d in range(devices)]
    cluster = Cluster(
        "c",
        tuple(Device(f"d{d}", "d", kinds[d]) for d in range(devices)),
        {kind.name: kind for kind in kinds},
        None if latency is None else NetworkLevel(None, latency),
    )
    return Problem(Graph("g", mode, microbatches, tuple(operators)), cluster, microbatches)


def op(name, *times, inputs=(), **fields):
    return Operator(name, dict(zip(PASS_ORDER, times, strict=False)), tuple(inputs), **fields)


def at(table, task):
    return table.start[task]


def test_a_stream_keeps_its_order_even_where_another_task_could_go():
    p = pose([op("a", 2.0), op("b", 1.0, inputs=["a"]), op("c", 1.0)])
    placement = Placement.single((0, 1, 1))
    waits = replay(p, placement, (0,), [[[(0, F, 0)], []], [[(1, F, 0), (2, F, 0)], []]])
    assert (at(waits, (1, F, 0)), at(waits, (2, F, 0))) == (2.0, 3.0)
    fills = replay(p, placement, (0,), [[[(0, F, 0)], []], [[(2, F, 0), (1, F, 0)], []]])
    assert fills.makespan(p) == 3.0
    assert fills.transfers == ()  # free transfers take no time and are not listed


def test_streams_of_one_device_overlap():
    p = pose([op("a", 3.0), op("b", 2.0, stream=Stream.COMM)], devices=1)
    table = replay(p, Placement.single((0, 0)), (0,), [[[(0, F, 0)], [(1, F, 0)]]])
    assert table.makespan(p) == 3.0


def test_one_transfer_serves_all_readers_on_a_device_and_brings_one_gradient_back():
    """The gradient goes after the I of the later reader, and the producer's I after it."""
    operators = [op("a", 1.0, 1.0), op("b", 1.0, 1.0, inputs=["a"]), op("c", 1.0, 1.0, inputs=["a"])]
    p = pose(operators, latency=0.5, mode=Mode.TRAINING)
    there = [(1, F, 0), (1, I, 0), (2, F, 0), (2, I, 0)]
    table = replay(p, Placement.single((0, 1, 1)), (0,), [[[(0, F, 0), (0, I, 0)], []], [there, []]])
    assert [(x.operator, x.pass_, x.source, x.target, x.start, x.end) for x in table.transfers] == [
        (0, 0, 0, 1, 1.0, 1.5),
        (0, 1, 1, 0, 5.5, 6.0),
    ]
    assert table.makespan(p) == 7.0


def test_a_channel_carries_one_transfer_at_a_time_first_ready_first():
    operators = [op("a", 1.0), op("b", 0.25), op("x", 1.0, inputs=["a"]), op("y", 1.0, inputs=["b"])]
    p = pose(operators, latency=2.0)
    orders = [[[(0, F, 0), (1, F, 0)], []], [[(2, F, 0), (3, F, 0)], []]]
    table = replay(p, Placement.single((0, 0, 1, 1)), (0,), orders)
    assert [(x.operator, x.start, x.end) for x in table.transfers] == [(0, 1.0, 3.0), (1, 3.0, 5.0)]


@pytest.mark.parametrize(("exclusive", "second"), [((), 1.0), ((0,), 3.0), ((1,), 1.0), ((0, 1), 3.0)])
def test_a_transfer_occupies_the_compute_stream_of_exclusive_ends(exclusive, second):
    """On device 0 the transfer goes before the next task in order; on device 1 it keeps that one waiting."""
    p = pose([op("a", 1.0), op("b", 1.0, inputs=["a"]), op("c", 1.0), op("e", 1.0)], 2, 1, 2.0, exclusive)
    orders = [[[(0, F, 0), (2, F, 0)], []], [[(3, F, 0), (1, F, 0)], []]]
    table = replay(p, Placement.single((0, 1, 0, 1)), (0,), orders)
    assert at(table, (2, F, 0)) == second
    assert at(table, (1, F, 0)) == 3.0


def test_transfers_between_exclusive_devices_in_a_ring_do_not_deadlock():
    operators = [op(f"s{d}", 1.0) for d in range(3)]
    operators += [op(f"r{d}", 1.0, inputs=[f"s{(d + 1) % 3}"]) for d in range(3)]
    p = pose(operators, 3, 4, 0.5, (0, 1, 2))
    orders = [[[(d + 3 * k, F, m) for m in range(4) for k in (0, 1)], []] for d in range(3)]
    table = replay(p, Placement.single((0, 1, 2, 0, 1, 2)), (0,) * 4, orders)
    spans = [(x.start, x.end, d) for x in table.transfers for d in (x.source, x.target)]
    spans += [(s, s + 1.0, i % 3) for i in range(6) for s in table.start[i, F]]
    for d in range(3):
        mine = sorted((s, e) for s, e, where in spans if where == d)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(mine))


def test_a_gradient_may_have_to_wait_for_more_tasks():
    p = pose([op("a", 1.0, 1.0), op("b", 1.0, 1.0, 2.0, inputs=["a"])], mode=Mode.TRAINING, latency=1.0)
    orders = [[[(0, F, 0), (0, I, 0)], []], [[(1, F, 0), (1, I, 0), (1, W, 0)], []]]
    placement = Placement.single((0, 1))
    assert at(replay(p, placement, (0,), orders), (0, I, 0)) == 5.0
    leaves_after = np.full((2, 2, 1), -1)
    leaves_after[1, 0, 0] = 3 * 1 + W
    late = replay(p, placement, (0,), orders, leaves_after=leaves_after)
    assert at(late, (0, I, 0)) == 7.0


def test_a_forward_waits_until_its_activation_fits():
    """6 bytes: 1 of parameters, 2 a microbatch until I, 1 of them until W."""
    a = op("a", 1.0, 1.0, 1.0, activation=2.0, held_for_weight_grad=1.0, parameters=1.0)
    b = op("b", 4.0, 1.0, inputs=["a"])
    p = pose([a, b], microbatches=3, mode=Mode.TRAINING)
    first = [(0, F, m) for m in range(3)] + [(0, q, m) for m in range(3) for q in (I, W)]
    second = [(1, q, m) for m in range(3) for q in (F, I)]
    orders, placement = [[first, []], [second, []]], Placement.single((0, 1))
    assert replay(p, placement, (0,) * 3, orders, caps=[7.0, 0.0]).start[0, F].tolist() == [0.0, 1.0, 2.0]
    assert replay(p, placement, (0,) * 3, orders, caps=[5.0, 0.0]) is None  # the third F stands before the I's
    first = [(0, F, 0), (0, F, 1), (0, I, 0), (0, F, 2), (0, W, 0)] + [(0, q, m) for m in (1, 2) for q in (I, W)]
    fits = replay(p, placement, (0,) * 3, [[first, []], [second, []]], caps=[6.0, 0.0])
    assert fits.start[0, F].tolist() == [0.0, 1.0, 7.0]
    assert replay(p, placement, (0,) * 3, [[first, []], [second, []]], caps=[5.0, 0.0]) is None


def test_an_order_of_allocation_keeps_the_other_stream_from_taking_the_memory():
    """Memory for one activation: c is ready first, but b is to have the memory first."""
    operators = [op("a", 1.0), op("b", 1.0, inputs=["a"], activation=1.0)]
    operators.append(op("c", 5.0, stream=Stream.COMM, activation=1.0))
    p = pose(operators, devices=1)
    placement, orders = Placement.single((0, 0, 0)), [[[(0, F, 0), (1, F, 0)], [(2, F, 0)]]]
    greedy = replay(p, placement, (0,), orders, caps=[1.0])
    assert (at(greedy, (1, F, 0)), at(greedy, (2, F, 0))) == (5.0, 0.0)
    given = replay(p, placement, (0,), orders, caps=[1.0], allocation_order=[[(1, 0), (2, 0)]])
    assert (at(given, (1, F, 0)), at(given, (2, F, 0))) == (1.0, 2.0)


def test_in_inference_an_output_is_held_until_it_was_read_and_sent():
    """Memory for one: the second forward waits for the transfer of the first to leave."""
    p = pose([op("a", 1.0, activation=1.0), op("b", 1.0, inputs=["a"])], microbatches=2, latency=3.0)
    orders = [[[(0, F, 0), (0, F, 1)], []], [[(1, F, 0), (1, F, 1)], []]]
    table = replay(p, Placement.single((0, 1)), (0, 0), orders, caps=[1.0, 0.0])
    assert table.start[0, F].tolist() == [0.0, 4.0]


def test_orders_that_contradict_the_graph_deadlock():
    p = pose([op("a", 1.0), op("b", 1.0, inputs=["a"])], devices=1)
    assert replay(p, Placement.single((0, 0)), (0,), [[[(1, F, 0), (0, F, 0)], []]]) is None


def test_orders_with_missing_or_misplaced_tasks_are_refused():
    p = pose([op("a", 1.0), op("b", 1.0)])
    with pytest.raises(ValueError, match="different tasks"):
        replay(p, Placement.single((0, 1)), (0,), [[[(0, F, 0)], []], [[], []]])
    with pytest.raises(ValueError, match="does not run there"):
        replay(p, Placement.single((0, 1)), (0,), [[[(0, F, 0), (1, F, 0)], []], [[], []]])


def in_order(seed, lengths):
    """A random graph in two copies, one microbatch after another: problem, timetable and its orders."""
    chance = random.Random(seed)
    operators = []
    for k in range(8):
        inputs = sorted({f"o{chance.randrange(k)}" for _ in range(2)}) if k else []
        times = [chance.choice(lengths) for _ in range(chance.choice([2, 3]))]
        operators.append(op(f"o{k}", *times, inputs=inputs, stream=chance.choice(list(Stream))))
    p = pose(operators, 3, 4, chance.choice([None, 0.5]), mode=Mode.TRAINING)
    placement = Placement(tuple(tuple(chance.randrange(3) for _ in range(8)) for _ in range(2)))
    copy_of = (0, 1, 1, 0)
    orders = [[[], []] for _ in range(3)]
    for m in range(4):
        forwards = [(i, F, m) for i in range(8)]
        backwards = [(i, q, m) for i in reversed(range(8)) for q in (I, W) if p.has_pass[i, q]]
        for i, q, _ in forwards + backwards:
            orders[placement.device_of[copy_of[m]][i]][int(p.on_comm[i])].append((i, q, m))
    return p, replay(p, placement, copy_of, orders), orders


@pytest.mark.parametrize("seed", range(6))
def test_retiming_a_replay_changes_nothing(seed):
    p, table, orders = in_order(seed, [1.0, 1.5, 2.0])
    assert orders_of(table, p) == orders
    again = replay(p, table.placement, table.copy_of, orders_of(table, p))
    np.testing.assert_array_equal(again.start, table.start)
    assert again.transfers == table.transfers


@pytest.mark.parametrize("seed", range(12))
def test_tasks_without_length_are_put_in_an_order_that_works(seed):
    """Several may share an instant; whichever order is read from that, it has to respect the graph."""
    p, table, _ = in_order(seed, [0.0, 0.0, 1.0])
    assert replay(p, table.placement, table.copy_of, orders_of(table, p)) is not None
