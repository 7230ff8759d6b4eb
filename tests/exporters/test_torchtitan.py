"""Job configurations of torchtitan: values by hand, names and types against its own, schedules that torch can run."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from export_samples import cells, run_csv
from launch_samples import layers, made, one_at_a_time, planned

from planner.commands.app import main
from planner.exporters import CannotExport, Exported
from planner.exporters.torchtitan import TorchTitan, TorchTitanOptions
from planner.plan.plan import Plan
from planner.problem import Pass, Problem, Variant

KNOWN = {
    "training": {
        "local_batch_size": int,
        "global_batch_size": int,
        "seq_len": int,
        "mixed_precision_param": str,
    },
    "parallelism": {
        "pipeline_parallel_degree": int,
        "pipeline_parallel_schedule": str,
        "pipeline_parallel_schedule_csv": str,
        "pipeline_parallel_microbatch_size": int,
        "module_fqns_per_model_part": list,
        "tensor_parallel_degree": int,
        "context_parallel_degree": int,
        "expert_parallel_degree": int,
        "expert_tensor_parallel_degree": int,
        "data_parallel_shard_degree": int,
        "data_parallel_replicate_degree": int,
        "fsdp_reshard_after_forward": str,
    },
    "activation_checkpoint": {"mode": str, "selective_ac_option": str},
}
"""Sections and fields of JobConfig that the export sets (torchtitan v0.2.2)."""


def export(plan: Plan, problem: Problem | None, **options: Any) -> Exported:
    return TorchTitan().export(plan, problem, TorchTitanOptions(**options))


def read(exported: Exported) -> dict[str, dict[str, Any]]:
    """The TOML, its names and types checked."""
    found = tomllib.loads(exported.text)
    for section, fields in found.items():
        for name, value in fields.items():
            assert isinstance(value, KNOWN[section][name]), f"{section}.{name}"
    return found


def test_a_plan_of_1f1b() -> None:
    """3 sequences a microbatch and 8 microbatches are 24 on a replica, 96 on 4."""
    problem = made(layers(6), 4, tensor=2, context=2, data=4, micro_batch=3)
    exported = export(planned(problem), problem)
    assert not exported.beside
    assert read(exported) == {
        "training": {
            "local_batch_size": 24,
            "global_batch_size": 96,
            "seq_len": 4096,
            "mixed_precision_param": "bfloat16",
        },
        "parallelism": {
            "pipeline_parallel_degree": 4,
            "pipeline_parallel_schedule": "1F1B",
            "module_fqns_per_model_part": [
                ["tok_embeddings", "layers.0"],
                ["layers.1", "layers.2"],
                ["layers.3", "layers.4"],
                ["layers.5", "norm", "output"],
            ],
            "tensor_parallel_degree": 2,
            "context_parallel_degree": 2,
            "data_parallel_shard_degree": 4,
            "data_parallel_replicate_degree": 1,
            "fsdp_reshard_after_forward": "never",
            "pipeline_parallel_microbatch_size": 3,
        },
        "activation_checkpoint": {"mode": "none"},
    }


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ({"zero": 0, "data": 2}, {"data_parallel_shard_degree": 1, "data_parallel_replicate_degree": 2}),
        ({"zero": 3, "data": 2}, {"data_parallel_shard_degree": 2, "fsdp_reshard_after_forward": "always"}),
        (
            {"zero": 0, "data": 2, "experts": 4, "expert": 2, "tensor": 4},
            {"data_parallel_shard_degree": 2, "expert_parallel_degree": 2, "expert_tensor_parallel_degree": 4},
        ),
    ],
)
def test_degrees(of: dict[str, int], expected: dict[str, Any]) -> None:
    problem = made(layers(6), 2, **of)
    found = read(export(planned(problem), problem))["parallelism"]
    assert {name: found[name] for name in expected} == expected


def test_one_rank_has_no_pipeline() -> None:
    """Microbatches are steps of gradient accumulation there."""
    problem = made(layers(2), 1, data=2, micro_batch=2)
    found = read(export(planned(problem), problem))
    assert found["training"]["local_batch_size"] == 2
    assert found["training"]["global_batch_size"] == 32
    assert "pipeline_parallel_schedule" not in found["parallelism"]


@pytest.mark.parametrize(
    ("name", "schedule", "by_csv", "stages"),
    [
        ("interleaved-1f1b", "Interleaved1F1B", False, 4),
        ("zb1p", "1F1B", True, 2),
        ("zbv", "ZBVZeroBubble", True, 4),
    ],
)
def test_schedules(name: str, schedule: str, by_csv: bool, stages: int) -> None:
    problem = made(layers(6), 2, microbatches=4)
    plan = planned(problem, name)
    exported = export(plan, problem)
    found = read(exported)["parallelism"]
    assert found["pipeline_parallel_schedule"] == schedule
    assert ("pipeline_parallel_schedule_csv" in found) is by_csv is (".csv" in exported.beside)
    assert len(found["module_fqns_per_model_part"]) == stages
    assert any("no longer than planned" in note for note in exported.notes)
    if by_csv:
        rows = cells(exported.beside[".csv"])
        run_csv(rows, stages, 4)
        ranks = [sorted({cell.stage for cell in row}) for row in rows]
        assert ranks == ([[0, 3], [1, 2]] if name == "zbv" else [[0], [1]])


def test_any_order_of_whole_stages_is_kept() -> None:
    """A microbatch at a time, which no name says."""
    problem = made(layers(6), 2)
    exported = export(one_at_a_time(problem, [0] * 4 + [1] * 4), problem)
    assert any(
        "a CSV of the order of the plan: " in note and "no longer than planned" in note for note in exported.notes
    )
    rows = cells(exported.beside[".csv"])
    run_csv(rows, 2, 8)
    assert [cell.microbatch for cell in rows[1] if cell.kind == "F"] == list(range(8))
    assert [cell.kind for cell in rows[1]] == ["F", "I", "W"] * 8


def test_memory_is_checked() -> None:
    """4 of parameters and 2 x 4 in flight are 12; with 3 and 5 layers they are 9 and 10."""
    problem = made(layers(6), 2, cap=11.0)
    plan = planned(problem)
    with pytest.raises(
        CannotExport, match=r"does not fit in memory: g0 needs 12 B of memory, its cap is 11 B.*fits is Ett\|"
    ):
        export(plan, problem)
    assert read(export(plan, problem, over_memory=True))["parallelism"]["pipeline_parallel_schedule"] == "1F1B"
    stages = read(export(plan, problem, repair=True))["parallelism"]["module_fqns_per_model_part"]
    assert [len(stage) for stage in stages] == [3, 6]  # norm and output are the head


@pytest.mark.parametrize(("way", "mode"), [("full", "full"), ("selective", "selective")])
def test_recomputation(way: str, mode: str) -> None:
    problem = made(layers(6), 2)
    variant = Variant(way, {Pass.F: 1.0, Pass.I: 3.0}, 1.0, 0.5, 0.5)
    operators = tuple(replace(o, variants=(variant,) if o.name.startswith("layer") else ()) for o in problem.operators)
    problem = replace(problem, graph=replace(problem.graph, operators=operators))
    from planner.baselines import baseline_timetable
    from planner.baselines.choices import posed
    from planner.plan.build import build_plan

    def of(*names: str) -> Plan:
        versions = tuple(int(o.name in names) for o in operators)
        timetable = posed(problem, versions, baseline_timetable("1f1b", problem.chosen(versions)))
        nothing = {"lower_bound": None, "placement_lower_bound": None, "options": {}, "solve_seconds": 0.0}
        return build_plan(problem, timetable, origin="solve", status="feasible", **nothing)

    every = export(of(*(f"layer.{k}" for k in range(6))), problem)
    assert read(every)["activation_checkpoint"]["mode"] == mode
    with pytest.raises(
        CannotExport, match=r"not all recomputed alike, and torchtitan .* nearest that fits is every decoder"
    ):
        export(of("layer.0", "layer.3"), problem)


def test_refusals() -> None:
    problem = made(layers(4, "mtp_attn"), 2, mtp=1)
    with pytest.raises(CannotExport, match=r"no multi-token prediction; import with --no-mtp"):
        export(planned(problem), problem)
    problem = made(layers(6), 3, microbatches=6)
    plan = one_at_a_time(problem, [0, 1, 2, 2, 0, 0, 1, 1])
    with pytest.raises(CannotExport, match=r"(after g2 comes|last stage is on g1).*in torchtitan's order \("):
        export(plan, problem)
    repaired = export(plan, problem, repair=True)
    assert read(repaired)["parallelism"]["pipeline_parallel_schedule"] in ("1F1B", "Interleaved1F1B")
    assert repaired.notes[0].startswith("repaired: ")


def test_a_graph_by_hand_says_what_is_missing() -> None:
    problem = made(layers(6), 2)
    exported = export(planned(problem), None)
    assert set(read(exported)) == {"parallelism", "activation_checkpoint"}
    assert any("is missing" in note for note in exported.notes)


def test_the_file_names_the_csv_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(
        "schema: planner/graph@1\nname: small\nmicrobatches: 4\noperators:\n"
        "  - {name: embed, time: {forward: 1}, parameters: 1}\n"
        "  - {block: layer, repeat: 4, inputs: [embed], operators: [{name: all, time: {forward: 1}, parameters: 1}]}\n"
        "  - {name: head, time: {forward: 1}, parameters: 1, inputs: [layer]}\n"
    )
    Path("cluster.yaml").write_text(
        "schema: planner/cluster@1\ndevice_types: {a: {}}\ndevices: [{name: g, type: a, count: 2}]\n"
    )
    assert main(["baseline", "zb1p", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    files = ["--graph", "graph.yaml", "--cluster", "cluster.yaml", "--quiet"]
    assert main(["export", "plan.json", "--to", "torchtitan", *files, "-o", "mine.toml"]) == 0
    named = tomllib.loads(Path("mine.toml").read_text())["parallelism"]["pipeline_parallel_schedule_csv"]
    assert named == "mine.toml.csv"
    run_csv(cells(Path(named).read_text()), 2, 4)


def test_the_page_has_the_fields_that_are_written() -> None:
    page = (Path(__file__).parents[2] / "docs" / "export-torchtitan.md").read_text(encoding="utf-8")
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])
    problem = made(layers(7), 4, tensor=8, data=2)
    written = read(export(planned(problem), problem))
    assert {name: list(fields) for name, fields in shown.items()} == {name: list(f) for name, f in written.items()}
    assert all(name in page for section in KNOWN.values() for name in section)
