"""Layouts for Megatron-Core: read back by a parser of our own, refused where a layout cannot say what a plan does."""

from __future__ import annotations

import json
import random
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from export_samples import by_orders, named, pipeline

from planner.commands.app import main
from planner.exporters import CannotExport, Exported
from planner.exporters.layers import Layer, layers_of, parse_rules
from planner.exporters.megatron import megatron
from planner.exporters.megatron_layout import layout_of
from planner.objectives.baseline import baseline_plan
from planner.plan.plan import Plan
from planner.problem import Problem

PAGE = Path(__file__).parents[2] / "docs" / "export-megatron.md"


def stages_in(layout: str) -> list[str]:
    """The letters of every stage, by the grammar: terms are letters, bars or groups, each with an optional count."""
    text, expanded, at = layout.replace(",", ""), "", 0
    while at < len(text):
        if text[at] == "(":
            end = text.index(")", at)
            inner = text[at + 1 : end]
            assert "(" not in inner, "groups do not nest"
            term, at = "|".join(stages_in(inner)), end + 1
        else:
            term, at = text[at], at + 1
        assert set(term) <= set("EtmL|")
        count = re.match(r"\*(\d+)", text[at:])
        expanded += term * (int(count[1]) if count else 1)
        at += len(count[0]) if count else 0
    return expanded.split("|")


def test_the_parser_reads_the_documented_example() -> None:
    """From Megatron-Core's documentation of the format: 60 decoder layers on 32 stages."""
    assert stages_in("Et*3|(tt|)*29,m|L") == ["Ettt", *["tt"] * 29, "m", "L"]


def test_layouts_read_back_as_what_they_were_made_of() -> None:
    r = random.Random(0)
    lengths = set()
    for _ in range(500):
        repeated = ["t" * r.choice([1, 1, 2, 5, 12]) for _ in range(r.randint(1, 4)) for _ in range(r.choice([1, 3]))]
        stages = [f"E{repeated[0]}", *repeated[1:], r.choice(["L", "tL", "ttttL", "mL", "t" * 9 + "mmL"])]
        if r.random() < 0.5:
            stages = [stage for stage in stages for _ in range(1 if stage[0] in "E" or stage[-1] == "L" else 2)]
        text = layout_of(stages)
        assert stages_in(text) == stages
        lengths.add(len(text) < len("|".join(stages)))
    assert lengths == {True, False}


def model(layers: int, *, parts: int = 1, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    inside = ("",) if parts == 1 else tuple(f".part{k}" for k in range(parts))
    return ("embed", *(f"layer.{n}{part}" for n in range(layers) for part in inside), *extra, "head")


def chained(names: tuple[str, ...], devices: int, microbatches: int = 8) -> Problem:
    return named(pipeline(len(names), devices, microbatches), *names)


def published(name: str, names: tuple[str, ...], devices: int, microbatches: int = 8) -> tuple[Problem, Plan]:
    problem = chained(names, devices, microbatches)
    return problem, baseline_plan(name, problem)


def placed(names: tuple[str, ...], device_of: list[int], microbatches: int = 4) -> tuple[Problem, Plan]:
    """A plan with this placement, microbatch after microbatch."""
    problem = chained(names, max(device_of) + 1, microbatches)
    orders = [
        [
            [
                (i, p, m)
                for m in range(microbatches)
                for p, along in ((0, range(len(names))), (1, reversed(range(len(names)))), (2, range(len(names))))
                for i in along
                if device_of[i] == d
            ],
            [],
        ]
        for d in range(max(device_of) + 1)
    ]
    return problem, by_orders(problem, device_of, orders)


def read(exported: Exported) -> tuple[dict[str, str], list[str]]:
    """Flags by name, and the stages in the layout."""
    flags = dict(shlex.split(line) for line in exported.text.splitlines())
    return flags, stages_in(flags["--pipeline-model-parallel-layout"])


def every_layer_once(exported: Exported, plan: Plan) -> list[list[Layer]]:
    """The stages in the document, which are those of the layout, hold every operator once, where the plan has it."""
    flags, stages = read(exported)
    document = json.loads(exported.beside[".json"])
    ranks = int(flags["--pipeline-model-parallel-size"])
    assert len(stages) == len(document["stages"]) == ranks * document["virtual_pipeline_model_parallel_size"]
    device = {p.operator: p.device for p in plan.placement}
    seen, found = [], []
    for k, (letters, stage) in enumerate(zip(stages, document["stages"], strict=True)):
        assert letters == "".join(layer["kind"] for layer in stage["layers"])
        assert (stage["rank"], stage["virtual_stage"]) == (k % ranks, k // ranks)
        for layer in stage["layers"]:
            seen += layer["operators"]
            assert all(device[name] == document["ranks"][k % ranks]["device"] for name in layer["operators"])
        found.append([Layer(x["kind"], x["name"], tuple(x["operators"])) for x in stage["layers"]])
    assert sorted(seen) == sorted(device)
    joined = "".join(stages)
    assert joined[0] == "E" and joined[-1] == "L"
    assert joined.count("E") == joined.count("L") == 1
    assert joined.count("t") == int(flags["--num-layers"])
    assert joined.count("m") == int(flags.get("--mtp-num-layers", "0"))
    return found


def test_a_linear_plan() -> None:
    problem, plan = published("1f1b", model(6), 4)
    exported = megatron(plan, problem, None)
    flags, stages = read(exported)
    every_layer_once(exported, plan)
    assert flags["--pipeline-model-parallel-size"] == "4"
    assert stages == ["Et", "tt", "tt", "tL"]
    assert any("1F1B" in note and "more" not in note for note in exported.notes)


def test_an_interleaved_plan_of_layers_with_parts() -> None:
    names = model(7, parts=2, extra=("final_norm",))
    problem, plan = placed(names, [0, *[(n // 2 + 1) // 2 % 2 for n in range(14)], 1, 1])
    exported = megatron(plan, problem, None)
    layers = every_layer_once(exported, plan)
    assert read(exported)[1] == ["Et", "tt", "tt", "ttL"]
    assert layers[0][1] == Layer("t", "layer.0", ("layer.0.part0", "layer.0.part1"))
    assert layers[-1][-1].operators == ("final_norm", "head")
    assert any("interleaved 1F1B" in note for note in exported.notes)


def test_a_layer_on_two_devices_is_refused() -> None:
    problem, plan = placed(model(2, parts=2), [0, 0, 1, 1, 1, 1])
    with pytest.raises(
        CannotExport, match=r"'layer.0' is split over g0 \('layer.0.part0'\) and g1 \('layer.0.part1'\)"
    ):
        megatron(plan, problem, None)


def test_layers_of_prediction() -> None:
    names = ("embed", "layer.0", "layer.1", "layer.2", "mtp_join", "mtp_attention", "head")
    problem, plan = placed(names, [0, 0, 1, 2, 3, 3, 3])
    exported = megatron(plan, problem, None)
    layers = every_layer_once(exported, plan)
    assert read(exported)[1] == ["Et", "t", "t", "mL"]
    assert layers[-1][0] == Layer("m", "mtp", ("mtp_join", "mtp_attention"))
    two = ("embed", "layer.0", "mtp0_join", "mtp1_join", "head")
    with pytest.raises(CannotExport, match="all layers of multi-token prediction in one stage"):
        megatron(placed(two, [0, 0, 1, 2, 2])[1], None, None)


def test_what_the_graph_lacks_is_put_where_megatron_has_it() -> None:
    problem, plan = published("1f1b", ("stage0", "stage1", "stage2", "stage3"), 4)
    exported = megatron(plan, problem, None)
    every_layer_once(exported, plan)
    assert read(exported)[1] == ["Et", "t", "t", "tL"]
    assert sum("the graph has no" in note for note in exported.notes) == 2


def test_the_makespan_of_megatrons_order_is_said() -> None:
    problem, plan = published("zb1p", model(6), 4)
    _, own = published("1f1b", model(6), 4)
    note = next(note for note in megatron(plan, problem, None).notes if "1F1B" in note)
    assert f"{own.makespan:g} s" in note
    assert f"{plan.makespan:g} s" in note
    assert plan.makespan < own.makespan


@pytest.mark.parametrize(
    ("names", "device_of", "microbatches", "message"),
    [
        (
            model(5),
            [0, 1, 2, 2, 1, 0, 0],
            4,
            "its stages go g0, g1, g2, g1, and there they go round: after g2 comes g0",
        ),
        (model(4), [0, 1, 0, 1, 0, 0], 4, "its last stage is on g0, and there it is on the last rank, g1"),
        (model(6), [0, 1, 0, 1, 0, 1, 0, 1], 3, "microbatches that its 2 ranks divide, and the plan has 3"),
        (("embed", "head"), [0, 1], 4, "no decoder layer"),
        (
            ("embed", "layer.0", "patches", "head"),
            [0, 0, 1, 1],
            4,
            r"which layers 'patches' are parts of; --layers",
        ),
        (("embed", "encoder.layer.0", "layer.0", "head"), [0, 0, 1, 1], 4, r"'encoder.layer.0' are parts of"),
    ],
)
def test_refusals(names: tuple[str, ...], device_of: list[int], microbatches: int, message: str) -> None:
    problem, plan = placed(names, device_of, microbatches)
    for given in (problem, None):
        with pytest.raises(CannotExport, match=message):
            megatron(plan, given, None)


def test_copies_are_refused() -> None:
    problem = replace(chained(model(2), 4), copies=2)
    with pytest.raises(CannotExport, match=r"'embed' has copies on g\d and g\d.*--copies 1"):
        megatron(baseline_plan("dualpipe", problem), problem, None)


def test_a_layer_that_reads_a_later_one_is_refused() -> None:
    """Rules may put layers in an order that the graph does not have."""
    problem, plan = placed(("layer.0", "layer.1", "layer.2"), [0, 1, 0])
    with pytest.raises(CannotExport, match=r"'layer.2' reads 'layer.1', which is in a later stage"):
        megatron(plan, problem, "m=layer.1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("embed", ("E", "embedding")),
        ("model.embed_tokens", ("E", "embedding")),
        ("transformer.wte", ("E", "embedding")),
        ("layer.12.attention", ("t", "layer.12")),
        ("model.layers.3.mlp.experts.5.up", ("t", "model.layers.3")),
        ("decoder.block.7.norm", ("t", "decoder.block.7")),
        ("stage3", ("t", "stage3")),
        ("layer_dense.2.attn", ("t", "layer_dense.2")),
        ("layer_moe.57.experts", ("t", "layer_moe.57")),
        ("block17", ("t", "block17")),
        ("transformer.h.0.attn", ("t", "transformer.h.0")),
        ("mtp0_join", ("m", "mtp0")),
        ("model.mtp.1.head", ("m", "model.mtp.1")),
        ("lm_head", ("L", "loss")),
        ("model.norm", ("L", "loss")),
        ("final_layernorm", ("L", "loss")),
        ("head_weights", ("L", "loss")),
        ("lm_head_weights_again", ("L", "loss")),
        ("embed_weights", ("E", "embedding")),
        ("layer.0.attn_input", ("t", "layer.0")),
    ],
)
def test_layers_by_name(name: str, expected: tuple[str, str]) -> None:
    (layer,) = layers_of([name], [])
    assert (layer.kind, layer.name) == expected


@pytest.mark.parametrize("name", ["vision.0.layer", "encoder.layer.0.attn", "node9.Conv2d", "job0_op3", "pooler"])
def test_names_that_tell_nothing(name: str) -> None:
    with pytest.raises(CannotExport, match="--layers"):
        layers_of([name], [])


def test_rules_go_before_names() -> None:
    rules = parse_rules("E=stage0, L=stage3,t=stage*")
    layers = layers_of([f"stage{k}" for k in range(4)], rules)
    assert [layer.kind for layer in layers] == ["E", "t", "t", "L"]
    (layer,) = layers_of(["enc.0.a", "enc.0.b"], parse_rules("t=enc.*"))
    assert layer == Layer("t", "enc.0", ("enc.0.a", "enc.0.b"))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("t=stage*,L=stage3", "L=stage3: all that it matches is taken by rules before it"),
        ("L=head", "L=head: it matches no operator; there are stage0"),
        ("X=head", "'X=head' is not KIND=PATTERN"),
        ("t", "'t' is not KIND=PATTERN"),
        ("t=a..b", "'t=a..b' is not KIND=PATTERN"),
    ],
)
def test_rules_that_do_not_hold(rules: str, message: str) -> None:
    with pytest.raises(CannotExport, match=re.escape(message)):
        layers_of([f"stage{k}" for k in range(4)], parse_rules(rules))


def test_the_page_shows_what_the_commands_print(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    graph, cluster = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[:2]
    Path("graph.yaml").write_text(graph, encoding="utf-8")
    Path("cluster.yaml").write_text(cluster, encoding="utf-8")
    assert main(["baseline", "interleaved-1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()
    files = ["--graph", "graph.yaml", "--cluster", "cluster.yaml"]
    assert main(["export", "plan.json", "--to", "megatron", *files, "-o", "layout.txt"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert Path("layout.txt").read_text() in page
    shown = re.findall(r"^planner: .*$", page, re.MULTILINE)
    assert [line for line in printed.err.splitlines() if line in shown] == shown
    assert len(shown) >= 3
    assert json.loads(Path("layout.txt.json").read_text())["num_microbatches"] == 8


def test_the_command_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("graph.yaml").write_text(
        "schema: planner/graph@1\nname: pair\noperators:\n"
        "  - {name: front, time: {forward: 1}}\n  - {name: back, time: {forward: 1}, inputs: [front]}\n"
    )
    Path("cluster.yaml").write_text(
        "schema: planner/cluster@1\ndevice_types: {a: {}}\ndevices: [{name: g, type: a, count: 2}]\n"
    )
    assert main(["baseline", "1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["export", "plan.json", "--to", "megatron", "-o", "layout.txt"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "'front', 'back'" in err
    assert not Path("layout.txt").exists()
    assert main(["export", "plan.json", "--to", "megatron", "--layers", "t=front,t=back", "--quiet"]) == 0
    assert "--pipeline-model-parallel-layout 'Et|tL'" in capsys.readouterr().out


def test_the_page_shows_the_launch_of_an_imported_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its flags of planner import hf, on a config of the tests."""
    monkeypatch.chdir(tmp_path)
    page = PAGE.read_text(encoding="utf-8")
    config = PAGE.parents[1] / "configs" / "models" / "mixtral-8x7b.json"
    asked = re.search(r"planner import hf config.json (.*) -o graph.yaml", page)
    assert asked is not None
    assert main(["import", "hf", str(config), *shlex.split(asked[1]), "-o", "graph.yaml", "--quiet"]) == 0
    cluster = PAGE.parents[1] / "configs" / "clusters" / "h100-8.yaml"
    Path("cluster.yaml").write_text(cluster.read_text("utf-8").replace("count: 8", "count: 4"), encoding="utf-8")
    assert main(["baseline", "interleaved-1f1b", "graph.yaml", "cluster.yaml", "-o", "plan.json", "--quiet"]) == 0
    files = ["--graph", "graph.yaml", "--cluster", "cluster.yaml", "--quiet"]
    assert main(["export", "plan.json", "--to", "megatron", *files, "-o", "launch.txt"]) == 0
    assert f"```\n{Path('launch.txt').read_text()}```" in page
    assert main(["export", "plan.json", "--to", "megatron-bridge", *files, "-o", "plan.yaml"]) == 0
    written = yaml.safe_load(Path("plan.yaml").read_text())
    shown = yaml.safe_load(page.split("```yaml\nmodel:")[1].split("```")[0].join(("model:", "")))
    for group, fields in shown.items():
        assert {name: written[group][name] for name in fields} == fields
