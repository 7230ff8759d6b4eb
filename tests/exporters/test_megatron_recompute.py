"""What plans recompute as Megatron's flags: what it can run, what is refused, and what the nearest choice takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from export_samples import named, pipeline

from planner.baselines import baseline_timetable
from planner.baselines.choices import posed
from planner.commands.app import main
from planner.exporters import CannotExport, Exported
from planner.exporters.megatron import MegatronOptions, megatron
from planner.plan.build import build_plan
from planner.plan.plan import Plan
from planner.problem import Pass, Problem, Variant

EIGHT = ("embed", *(f"layer.{k}" for k in range(8)), "head")
"""On 2 devices: embedding and layers 0 to 3, layers 4 to 7 and head."""

TIMES: dict[str, Mapping[Pass, float]] = {
    "selective": {Pass.F: 1.0, Pass.I: 2.5},
    "full": {Pass.F: 1.0, Pass.I: 3.0},
}
HELD = {"selective": 2.0, "full": 1.0}


def model(names: Sequence[str] = EIGHT, *, cap: float | None = None, only: str | None = None) -> Problem:
    """A pipeline whose operators keep 4 bytes a microbatch, 2 selectively, 1 in full, and may be in all three."""
    problem = named(pipeline(len(names), 2, 6), *names)
    some = tuple(
        Variant(name, TIMES[name], 1.0, HELD[name], HELD[name])
        for name in ("selective", "full")
        if only in (None, name)
    )
    operators = tuple(
        replace(o, activation=4.0, held_for_weight_grad=2.0, variants=some) for o in problem.graph.operators
    )
    return replace(problem, graph=replace(problem.graph, operators=operators), memory_cap=cap)


def planned(problem: Problem, variants: Mapping[str, str]) -> Plan:
    """1F1B with the operators in these variants, the others at base."""
    versions = tuple(o.versions.index(variants.get(o.name, "base")) for o in problem.operators)
    timetable = posed(problem, versions, baseline_timetable("1f1b", problem.chosen(versions)))
    nothing = {"lower_bound": None, "placement_lower_bound": None, "options": {}, "solve_seconds": 0.0}
    return build_plan(problem, timetable, origin="solve", status="feasible", **nothing)


def layers(variant: str, *numbers: int) -> dict[str, str]:
    return {f"layer.{k}": variant for k in numbers}


def flags(exported: Exported) -> list[str]:
    """The lines that say what is recomputed."""
    return [line for line in exported.text.splitlines() if line.startswith("--recompute")]


BLOCK = ["--recompute-granularity full", "--recompute-method block"]


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ({}, []),
        (
            layers("full", *range(8)),
            ["--recompute-granularity full", "--recompute-method uniform", "--recompute-num-layers 1"],
        ),
        (layers("selective", *range(8)), ["--recompute-granularity selective", "--recompute-modules layernorm"]),
        (layers("full", 0, 4), [*BLOCK, "--recompute-num-layers 1"]),
        (layers("full", 0, 1, 2, 4, 5, 6), [*BLOCK, "--recompute-num-layers 3"]),
    ],
)
def test_what_megatron_can_run(variants: dict[str, str], expected: list[str]) -> None:
    problem = model()
    plan = planned(problem, variants)
    for given in (problem, None):
        exported = megatron(plan, given, None)
        assert flags(exported) == expected
        document = json.loads(exported.beside[".json"])
        assert document.get("recompute_granularity") == (expected[0].split()[1] if expected else None)
    note = next(note for note in megatron(plan, problem, None).notes if "own order" in note)
    assert "as long as the plan's order" in note


def test_a_stage_with_fewer_layers_has_all_of_them_recomputed() -> None:
    """``block`` recomputes the first N of a stage, and no more than there are."""
    problem = model(("embed", *(f"layer.{k}" for k in range(5)), "norm", "head"))  # 3 layers and 2
    plan = planned(problem, layers("full", 0, 1, 3, 4))
    assert flags(megatron(plan, problem, None)) == [*BLOCK, "--recompute-num-layers 2"]


def test_other_layers_of_a_stage_are_as_good_where_they_are_alike() -> None:
    problem = model()
    plan = planned(problem, layers("full", 1, 3, 6, 7))
    exported = megatron(plan, problem, None)
    assert flags(exported) == [*BLOCK, "--recompute-num-layers 2"]
    assert any("the plan others, which are alike" in note for note in exported.notes)
    with pytest.raises(CannotExport, match=r"stage 0 \(g0\) recomputes layers other than its first 2.*--graph"):
        megatron(plan, None, None)
    operators = tuple(replace(o, activation=5.0) if o.name == "layer.2" else o for o in problem.operators)
    unlike = replace(problem, graph=replace(problem.graph, operators=operators))
    with pytest.raises(CannotExport, match="other than its first 2, as Megatron does, which are not alike"):
        megatron(planned(unlike, layers("full", 1, 3, 6, 7)), unlike, None)


@pytest.mark.parametrize(
    ("variants", "reason"),
    [
        (
            layers("full", 0, 1, 2, 4),
            r"stage 0 \(g0\) recomputes 3 of its 4 decoder layers in full, stage 1 \(g1\) 1 of 4, and",
        ),
        (layers("full", 5, 6), r"stage 1 \(g1\) recomputes 2 of its 4 decoder layers in full, stage 0 \(g0\) 0 of 4"),
        (
            {**layers("full", 0), **layers("selective", 1)},
            r"'layer.1' on stage 0 \(g0\) is recomputed selectively, decoder layer 'layer.0' on stage 0 \(g0\) is "
            "recomputed in full, and Megatron's --recompute-granularity is one",
        ),
        (layers("selective", 0, 1), "'layer.0' on stage 0 .* selectively, .* 'layer.2' .* is not recomputed"),
    ],
)
def test_what_megatron_cannot_run(variants: dict[str, str], reason: str) -> None:
    problem = model()
    plan = planned(problem, variants)
    for given in (problem, None):
        with pytest.raises(CannotExport, match=reason):
            megatron(plan, given, None)


def test_a_layer_in_parts() -> None:
    names = ("embed", *(f"layer.{k}.{part}" for k in range(4) for part in ("attn", "mlp")), "head")
    problem = model(names)
    plan = planned(problem, {"layer.2.attn": "full"})
    with pytest.raises(
        CannotExport,
        match=r"'layer.2' on stage 1 \(g1\) has 'layer.2.attn' recomputed in full and 'layer.2.mlp' not",
    ):
        megatron(plan, problem, None)
    every = planned(problem, {f"layer.{k}.{part}": "full" for k in range(4) for part in ("attn", "mlp")})
    assert len(flags(megatron(every, problem, None))) == 3
    without = replace(
        problem,
        graph=replace(
            problem.graph,
            operators=tuple(replace(o, variants=()) if o.name.endswith("mlp") else o for o in problem.operators),
        ),
    )
    attention = planned(without, {f"layer.{k}.attn": "full" for k in range(4)})
    assert len(flags(megatron(attention, without, None))) == 3  # nothing else has that choice
    with pytest.raises(CannotExport, match="the plan alone does not show whether all of them could be"):
        megatron(attention, None, None)


def test_the_nearest_choice_is_the_shortest_that_fits() -> None:
    """1F1B holds two microbatches on the first device: 5 operators keep 40 bytes at base, beside 5 of parameters."""
    variants = layers("full", 0, 1, 2, 4)
    for cap, words, choice in (
        (100.0, "every decoder layer not recomputed", {}),
        (34.0, "the first 2 decoder layers of every stage", layers("full", 0, 1, 4, 5)),
    ):
        problem = model(cap=cap, only="full")
        plan = planned(problem, variants)
        makespan = planned(problem, choice).makespan
        with pytest.raises(CannotExport) as refused:
            megatron(plan, problem, None)
        message = str(refused.value)
        assert f"the nearest that fits is {words}" in message
        assert f": {makespan:g} s in Megatron's order (1F1B)" in message
        assert f"where the plan takes {plan.makespan:g} s" in message
        assert ("--variants base plans that" in message) is (not choice)
        exported = megatron(plan, problem, None, MegatronOptions(repair=True))
        assert any(note.startswith("repaired: ") for note in exported.notes)
        assert flags(exported) == ([*BLOCK, "--recompute-num-layers 2"] if choice else [])


def test_nothing_fits() -> None:
    problem = model(cap=14.0)
    plan = planned(problem, layers("full", 0, 1, 2, 4))
    for repair in (False, True):
        with pytest.raises(CannotExport, match=r"nothing that it can run fits .*every .* in full, g0 needs"):
            megatron(plan, problem, None, MegatronOptions(repair=repair))
    anyway = megatron(plan, problem, None, MegatronOptions(repair=True, over_memory=True))
    assert "--recompute-method uniform" in flags(anyway)


def test_embedding_and_loss_keep_everything() -> None:
    problem = model(cap=21.0)  # 5 of parameters, and twice 4 of the embedding and 4 x 1 of layers
    plan = planned(problem, dict.fromkeys(EIGHT, "full"))
    assert max(device.peak_memory for device in plan.devices) == 5 + 2 * 5
    exported = megatron(plan, problem, None)
    assert len(flags(exported)) == 3
    assert any("'embed' and 'head' will keep everything" in note for note in exported.notes)
    assert not any("does not fit" in note for note in exported.notes)
    tight = replace(problem, memory_cap=20.0)
    with pytest.raises(CannotExport, match=r"does not fit in memory: g0 needs 21 B.*nothing that it can run fits"):
        megatron(plan, tight, None)
    anyway = megatron(plan, tight, None, MegatronOptions(over_memory=True))
    assert any("does not fit in memory: g0 needs" in note for note in anyway.notes)


def test_layers_of_prediction() -> None:
    """Recomputed with all decoder layers, or not at all."""
    problem = model((*EIGHT[:-1], "mtp_attn", "mtp_head", "head"))
    every = layers("full", *range(8))
    assert len(flags(megatron(planned(problem, {**every, "mtp_attn": "full"}), problem, None))) == 3
    assert "--recompute-method block" in flags(megatron(planned(problem, every), problem, None))
    with pytest.raises(CannotExport, match=r"'mtp' on stage 1 .* only with all of them"):
        megatron(planned(problem, {**layers("full", 0, 5), "mtp_attn": "full"}), problem, None)


def test_names_of_variants() -> None:
    problem = model(only="full")
    renamed = replace(
        problem,
        graph=replace(
            problem.graph,
            operators=tuple(
                replace(o, variants=tuple(replace(v, name="ckpt") for v in o.variants)) for o in problem.operators
            ),
        ),
    )
    plan = planned(renamed, layers("ckpt", *range(8)))
    with pytest.raises(CannotExport, match=r"variant 'ckpt'.*--recompute 'full=ckpt' or 'selective=ckpt'"):
        megatron(plan, renamed, None)
    full = megatron(plan, renamed, None, MegatronOptions(recompute="full=ckpt"))
    assert "--recompute-method uniform" in flags(full)
    options = MegatronOptions(recompute="selective=ckpt", recompute_modules="layernorm,mla_up_proj")
    assert flags(megatron(plan, renamed, None, options))[1] == "--recompute-modules layernorm mla_up_proj"
    for wrong in ("ckpt", "block=ckpt", "full="):
        with pytest.raises(CannotExport, match=re.escape(f"{wrong!r} is not full=VARIANT or selective=VARIANT")):
            megatron(plan, renamed, None, MegatronOptions(recompute=wrong))


def test_copies_on_one_device_in_different_variants() -> None:
    problem = model()
    plan = planned(problem, layers("full", *range(8)))
    other = tuple(replace(p, copy=1, variant="base") for p in plan.placement)
    twice = replace(
        plan,
        placement=(*plan.placement, *other),
        tasks=tuple(t._replace(copy=t.microbatch % 2) for t in plan.tasks),
    )
    with pytest.raises(CannotExport, match=r"'layer.0' are in different variants \('full', 'base'\)"):
        megatron(twice, None, None)
    unused = replace(plan, placement=(*plan.placement, *other))
    assert len(flags(megatron(unused, None, None))) == 3


def test_an_imported_graph_from_flag_to_flags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step tasks, gathers of ZeRO 3 and variants, on layers that stay whole."""
    config = Path(__file__).parents[2] / "configs" / "models" / "gpt2.json"
    monkeypatch.chdir(tmp_path)
    sizes = ["--zero", "3", "--dp", "4", "--interconnect", "100 GB/s", "--microbatches", "4", "--sequence", "1024"]
    assert main(["import", "hf", str(config), "--recompute", "choose", *sizes, "-o", "graph.yaml", "--quiet"]) == 0
    graph = Path("graph.yaml").read_text(encoding="utf-8")
    graph = graph.replace("colocate: attn", "colocate: whole").replace("colocate: mlp", "colocate: whole")
    Path("graph.yaml").write_text(graph, encoding="utf-8")
    cluster = Path(__file__).parents[2] / "configs" / "clusters" / "h100-8.yaml"
    Path("cluster.yaml").write_text(cluster.read_text("utf-8").replace("count: 8", "count: 2"), encoding="utf-8")
    files = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
    made = ["baseline", "interleaved-1f1b", "graph.yaml", "cluster.yaml", "--variant", "full", "-o", "plan.json"]
    assert main([*made, "--quiet"]) == 0
    assert main(["export", "plan.json", "--to", "megatron", *files, "-o", "layout.txt"]) == 2
    assert "--repair exports it with ZeRO 1" in capsys.readouterr().err
    assert main(["export", "plan.json", "--to", "megatron", *files, "-o", "layout.txt", "--repair"]) == 0
    assert "--recompute-method uniform\n" in Path("layout.txt").read_text()
    assert main(["export", "plan.json", "--to", "torch-csv", *files, "-o", "order.csv"]) == 0
    stages = json.loads(Path("order.csv.partition.json").read_text())["stages"]
    assert len(stages) == 4 and not any(stage["hands_on"] for stage in stages)
    assert {name: v for stage in stages for name, v in stage["variants"].items()}["layer.3.mlp"] == "full"
    said = capsys.readouterr().err
    assert said.count("step tasks (R, U, G)") == 2
