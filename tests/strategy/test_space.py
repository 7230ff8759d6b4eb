"""The space of strategies: what belongs to it, what does not and why."""

from __future__ import annotations

import pytest
from strategy.questions import machines, model, question

from planner.strategies.made import graphs_of
from planner.strategies.request import Request
from planner.strategies.space import Space, space_of


def space(request: Request) -> Space:
    return space_of(request, graphs_of(request))


def test_every_split_of_four_gpus_is_there_once() -> None:
    found = space(question(gpus=4, global_batch=4, fixed={"mbs": (1,)}, model=model(layers=4)))
    degrees = [(s.tp, s.cp, s.pp, s.dp) for s in (each.strategy for each in found.candidates)]
    splits = [
        (tp, cp, pp, 4 // (tp * cp * pp)) for tp in (1, 2, 4) for cp in (1, 2, 4) for pp in (1, 2, 4)
        if 4 % (tp * cp * pp) == 0
    ]  # fmt: skip
    assert sorted(degrees) == sorted(splits)
    assert not found.invalid


def test_degrees_multiply_to_the_gpus_and_divide_what_they_must() -> None:
    request = question(gpus=60, cluster="h100", cluster_of=machines(h100=60), global_batch=120,
                       model=model("qwen3-30b-a3b"), sequence=4096)  # fmt: skip
    found = space(request)
    assert found.candidates
    for each in found.candidates:
        s = each.strategy
        assert s.tp * s.cp * s.pp * s.dp == s.gpus == 60
        assert s.gbs % (s.dp * s.mbs) == 0
        assert (s.cp * s.dp) % s.ep == 0
        assert 128 % s.ep == 0
        assert 32 % s.tp == 0
        assert 4096 % s.cp == 0
        assert s.pp <= 48
    assert found.size == len(found.candidates) + sum(found.invalid.values())


def test_a_stage_of_zero_that_another_dominates_is_left_out() -> None:
    assert {each.strategy.zero for each in space(question(fixed={"dp": (4,)})).candidates} == {1}
    assert {each.strategy.zero for each in space(question(fixed={"dp": (1,), "cp": (1,)})).candidates} == {0}
    torchtitan = space(question(fixed={"dp": (4,)}, runtime="torchtitan"))
    assert {each.strategy.zero for each in torchtitan.candidates} == {2, 3}
    asked = space(question(fixed={"dp": (4,), "zero": (0,)}))
    assert {each.strategy.zero for each in asked.candidates} == {0}


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"global_batch": 7, "fixed": {"dp": (4,)}}, "dp does not divide the global batch of 7"),
        ({"fixed": {"pp": (4,)}}, "more stages than the 2 layers"),
        ({"fixed": {"mbs": (3,), "pp": (1, 2)}}, "mbs does not divide the sequences of a replica"),
        ({"model": model("gpt2-xl", layers=2), "sequence": 1024, "fixed": {"tp": (2,)}}, "25 attention heads"),
        ({"runtime": "fsdp", "fixed": {"pp": (2,)}}, "fsdp has no pipeline"),
    ],
)
def test_what_is_invalid_has_a_reason(more: dict[str, object], reason: str) -> None:
    found = space(question(**more))  # type: ignore[arg-type]
    assert not found.candidates
    assert found.invalid
    assert all(reason in each for each in found.invalid)


def test_a_stage_is_on_gpus_of_one_type_in_either_order() -> None:
    request = question(gpus=8, cluster_of=machines(h100=4, a100=4), global_batch=8)
    found = space(request)
    assert {each.order for each in found.candidates} == {("h100", "a100"), ("a100", "h100")}
    for each in found.candidates:
        stages = graphs_of(request).stages(each.strategy, each.order)
        assert len(stages.devices) == each.strategy.pp
        types = [device.type.name for device in stages.devices]
        assert types == sorted(types, key=each.order.index)
        assert set(types) == {"h100", "a100"}
    assert "a stage would have GPUs of several types" in found.invalid


def test_one_gpu_and_a_prime_number_of_them() -> None:
    assert {each.strategy.pp for each in space(question(gpus=1)).candidates} == {1}
    seven = space(question(gpus=7, global_batch=7, cluster_of=machines(h100=7)))
    assert {(s.strategy.tp, s.strategy.dp) for s in seven.candidates} == {(1, 7)}
