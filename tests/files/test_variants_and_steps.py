"""What ``variants``, ``step`` and ``clip_gradients`` of a graph file mean, and what is wrong with them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from planner.files import InputError, read_cluster, read_graph, schema
from planner.files.yaml_source import parse_yaml, read_source
from planner.problem import ByDevice, Graph, Operator, Pass, Problem, ProblemError, Work

F, I, W, R, U, G = Pass.F, Pass.I, Pass.W, Pass.R, Pass.U, Pass.G
HEAD = "schema: planner/graph@1\n"


def graph_of(tmp_path: Path, text: str) -> Graph:
    (tmp_path / "g.yaml").write_text(HEAD + dedent(text), encoding="utf-8")
    return read_graph(tmp_path / "g.yaml")


def one(tmp_path: Path, keys: str, mode: str = "training") -> Operator:
    """The operator with these keys, in flow style."""
    (operator,) = graph_of(tmp_path, f"mode: {mode}\noperators: [{{name: a, {keys}}}]").operators
    return operator


BASE = "time: {forward: 3, input_grad: 4, weight_grad: 2}, activation: 400, held_for_weight_grad: 50, parameters: 7"


def test_every_key_is_read(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        """\
        clip_gradients: true
        operators:
          - name: attn
            time: {forward: 3 ms, input_grad: 4 ms, weight_grad: 2 ms}
            activation: 400 MB
            held_for_weight_grad: 100 MB
            parameters: 1 GB
            variants:
              - {name: recompute, time: {input_grad: 9 ms, weight_grad: null}, activation: 56 MB}
              - name: fast
                work: {forward: {flops: 1e12}}
                held_for_weight_grad: 1 GB
                activation: 2 GB
                parameters: 1.5 GB
            step: {reduce: 3 ms, update: {bytes: 6 GB}, gather: {h100: 2 ms, gpu7: 1 ms}, gradient: 400 MB}
        """,
    )
    (attn,) = graph.operators
    recompute, fast = attn.variants
    assert graph.clip_gradients
    assert attn.versions == ("base", "recompute", "fast")
    assert recompute.times == {F: 0.003, I: 0.009}
    assert (recompute.activation, recompute.held_for_weight_grad, recompute.parameters) == (56e6, 56e6, 1e9)
    assert fast.times == {F: Work(1e12, 0.0), I: 0.004, W: 0.002}
    assert list(fast.times) == [F, I, W]
    assert (fast.activation, fast.held_for_weight_grad, fast.parameters) == (2e9, 1e9, 1.5e9)
    assert attn.step == {R: 0.003, U: Work(0.0, 6e9), G: ByDevice({"h100": 0.002, "gpu7": 0.001})}
    assert list(attn.step) == [R, U, G]
    assert attn.gradient == 400e6
    assert (attn.times, attn.activation) == ({F: 0.003, I: 0.004, W: 0.002}, 400e6)


def test_nothing_is_given(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, "operators: [{name: a, time: {forward: 1}}, {name: b, time: {forward: 1}, step: {}}]")
    assert not graph.clip_gradients
    for operator in graph.operators:
        assert (operator.variants, operator.step, operator.gradient) == ((), {}, 0.0)
        assert operator.versions == ("base",)


@pytest.mark.parametrize(
    ("keys", "times"),
    [
        ("", {F: 3, I: 4, W: 2}),
        ("time: {}", {F: 3, I: 4, W: 2}),
        ("time: {forward: 1}", {F: 1, I: 4, W: 2}),
        ("time: {input_grad: 9}", {F: 3, I: 9, W: 2}),
        ("time: {input_grad: 0}", {F: 3, I: 0, W: 2}),
        ("time: {input_grad: null}", {F: 3, I: 4, W: 2}),
        ("time: {weight_grad: 5}", {F: 3, I: 4, W: 5}),
        ("time: {weight_grad: null}", {F: 3, I: 4}),
        ("time: {weight_grad: 0}", {F: 3, I: 4}),
        ("work: {weight_grad: {flops: 0}}", {F: 3, I: 4}),
        ("work: {forward: {bytes: 2}}", {F: Work(0.0, 2.0), I: 4, W: 2}),
        ("time: {forward: {h: 1}}", {F: ByDevice({"h": 1.0}), I: 4, W: 2}),
        ("parameters: 0", {F: 3, I: 4, W: 2}),
    ],
)
def test_passes_of_a_variant(tmp_path: Path, keys: str, times: dict[Pass, Any]) -> None:
    """Pass by pass: what it leaves out is the operator's own."""
    (variant,) = one(tmp_path, f"{BASE}, variants: [{{name: v, {keys}}}]").variants
    assert variant.times == times


@pytest.mark.parametrize(
    ("own", "keys", "passes"),
    [
        ("time: {forward: 1}", "parameters: 3", [F, I]),
        ("time: {forward: 1}", "time: {weight_grad: 1}", [F, I, W]),
        ("time: {forward: 1}, parameters: 3", "time: {forward: 2}", [F, I, W]),
        ("time: {forward: 1}, parameters: 3", "time: {weight_grad: null}", [F, I]),
        ("work: {forward: {flops: 1}}, parameters: 3", "time: {forward: 2}", [F, I, W]),
    ],
)
def test_weight_grad_of_a_variant(tmp_path: Path, own: str, keys: str, passes: list[Pass]) -> None:
    """Whether there is a W follows from the operator, not from the parameters of the variant."""
    (variant,) = one(tmp_path, f"{own}, variants: [{{name: v, {keys}}}]").variants
    assert list(variant.times) == passes


def test_input_grad_of_a_variant_stays_the_operators(tmp_path: Path) -> None:
    """A variant with another forward keeps the operator's input_grad, even where that is as long as its forward."""
    (variant,) = one(tmp_path, "time: {forward: 1}, variants: [{name: v, time: {forward: 2}}]").variants
    assert variant.times == {F: 2.0, I: 1.0}


@pytest.mark.parametrize(
    ("own", "keys", "sizes"),
    [
        ("activation: 400, held_for_weight_grad: 50, parameters: 7", "", (400, 50, 7)),
        ("activation: 400, held_for_weight_grad: 50", "activation: 60", (60, 50, 0)),
        ("activation: 400, held_for_weight_grad: 50", "held_for_weight_grad: 0", (400, 0, 0)),
        ("activation: 400", "activation: 60", (60, 60, 0)),
        ("activation: 400", "activation: 0", (0, 0, 0)),
        ("activation: 400", "activation: 500", (500, 500, 0)),
        ("activation: 400, held_for_weight_grad: 50", "activation: 30, held_for_weight_grad: 30", (30, 30, 0)),
        ("activation: 400, held_for_weight_grad: 50", "activation: 30, time: {weight_grad: null}", (30, 30, 0)),
        ("parameters: 7", "parameters: 0", (0, 0, 0)),
    ],
)
def test_sizes_of_a_variant(tmp_path: Path, own: str, keys: str, sizes: tuple[float, ...]) -> None:
    text = f"time: {{forward: 1, weight_grad: 1}}, {own}, variants: [{{name: v, {keys}}}]"
    (variant,) = one(tmp_path, text).variants
    assert (variant.activation, variant.held_for_weight_grad, variant.parameters) == sizes


@pytest.mark.parametrize(
    ("keys", "step"),
    [
        ("reduce: 1", {R: 1}),
        ("update: 0", {U: 0}),
        ("gather: null", {}),
        ("gather: 2 ms, reduce: 1", {R: 1, G: 0.002}),
        ("update: {flops: 3}", {U: Work(3.0, 0.0)}),
        ("update: {flops: 3 TFLOP, bytes: 1 GB}", {U: Work(3e12, 1e9)}),
        ("update: {h: 1, gpu0: 2 s}", {U: ByDevice({"h": 1.0, "gpu0": 2.0})}),
        ("gradient: 1 GiB", {}),
    ],
)
def test_step_times(tmp_path: Path, keys: str, step: dict[Pass, Any]) -> None:
    """A number, a map by device, or work; each may be left out, and 0 is a task of no length."""
    assert one(tmp_path, f"time: {{forward: 1}}, step: {{{keys}}}").step == step


def test_inference_has_variants_but_no_step(tmp_path: Path) -> None:
    keys = f"{BASE}, step: {{reduce: 1, gradient: 3}}, variants: [{{name: v, time: {{forward: 1}}}}]"
    operator = one(tmp_path, keys, mode="inference")
    assert (operator.step, operator.gradient) == ({}, 0.0)
    assert [dict(variant.times) for variant in operator.variants] == [{F: 1.0}]


def test_repetitions_of_a_block_share_them(tmp_path: Path) -> None:
    operator = f"{{name: a, {BASE}, step: {{update: 1}}, variants: [{{name: v}}]}}"
    graph = graph_of(tmp_path, f"operators: [{{block: l, repeat: 3, operators: [{operator}]}}]")
    assert [(o.name, o.versions, dict(o.step)) for o in graph.operators] == [
        (f"l.{k}.a", ("base", "v"), {U: 1.0}) for k in range(3)
    ]
    assert all(a.variants[0] is b.variants[0] for a, b in pairwise(graph.operators))


T = "time: {forward: 1, weight_grad: 1}"
V = f"operators:\n  - name: a\n    {T}\n    activation: 4\n    variants:\n"
S = f"operators:\n  - name: a\n    {T}\n    step:\n"
FIRST = "operators[0]"

MISTAKES = [
    ("clip_gradients: 1\n", 2, "clip_gradients", "must be true or false (got 1)"),
    ("clip_gradients: 'true'\n", 2, "clip_gradients", "must be true or false"),
    ("clip_gradients:\n", 2, "clip_gradients", "must be true or false"),
    ("clip_gradient: true\n", 2, "clip_gradient", "did you mean 'clip_gradients'?"),
    (V, 6, f"{FIRST}.variants", "must be a list of variants (got nothing)"),
    (V + "      recompute: {}\n", 6, f"{FIRST}.variants", "must be a list of variants"),
    (V + "      - v\n", 7, f"{FIRST}.variants[0]", "must be a mapping with keys such as name, time, work"),
    (V + "      - {activation: 3}\n", 7, f"{FIRST}.variants[0].name", "is missing: every variant has it"),
    (V + "      - {name: 3}\n", 7, f"{FIRST}.variants[0].name", "put it in quotes"),
    (V + "      - {name: base}\n", 7, f"{FIRST}.variants[0].name", "'base' is the operator as it stands"),
    (V + "      - {name: v}\n      - {name: v}\n", 8, f"{FIRST}.variants[1].name", "'v' is used twice"),
    (V + "      - {name: v, output: 3}\n", 7, f"{FIRST}.variants[0].output", "a variant has only times and sizes"),
    (V + "      - {name: v, variants: []}\n", 7, f"{FIRST}.variants[0].variants", "a variant has only times and sizes"),
    (V + "      - {name: v, activations: 3}\n", 7, f"{FIRST}.variants[0].activations", "did you mean 'activation'?"),
    (V + "      - {name: v, time: 3}\n", 7, f"{FIRST}.variants[0].time", "must be a mapping"),
    (V + "      - {name: v, time: {forward: null}}\n", 7, f"{FIRST}.variants[0].time.forward", "got nothing"),
    (V + "      - {name: v, time: {forward: -1}}\n", 7, f"{FIRST}.variants[0].time.forward", "negative"),
    (
        V + "      - {name: v, time: {backward: 1}}\n",
        7,
        f"{FIRST}.variants[0].time.backward",
        "its two parts, input_grad",
    ),
    (
        V + "      - {name: v, time: {forward: {flops: 1 TFLOP}}}\n",
        7,
        f"{FIRST}.variants[0].time.forward.flops",
        "TFLOP",
    ),
    (V + "      - {name: v, work: {forward: 1}}\n", 7, f"{FIRST}.variants[0].work.forward", "must be a mapping"),
    (
        V + "      - name: v\n        work: {forward: {flops: 1}}\n        time: {forward: 1}\n",
        9,
        f"{FIRST}.variants[0].time",
        "time and work exclude each other: remove one",
    ),
    (V + "      - {name: v, activation: null}\n", 7, f"{FIRST}.variants[0].activation", "got nothing"),
    (V + "      - {name: v, parameters: 3 s}\n", 7, f"{FIRST}.variants[0].parameters", "has the unit s"),
    (
        V + "      - name: v\n        held_for_weight_grad: 5\n",
        8,
        f"{FIRST}.variants[0].held_for_weight_grad",
        "cannot be larger than activation (5 of 4)",
    ),
    (
        V + "      - {name: v, activation: 2, held_for_weight_grad: 3, time: {weight_grad: null}}\n",
        7,
        f"{FIRST}.variants[0].held_for_weight_grad",
        "cannot be larger than activation (3 of 2)",
    ),
    (
        V.replace("activation: 4", "activation: 4\n    held_for_weight_grad: 3") + "      - {name: v, activation: 2}\n",
        8,
        f"{FIRST}.variants[0].activation",
        "is less than held_for_weight_grad of the operator (2 of 3): give the variant a held_for_weight_grad",
    ),
    (S, 5, f"{FIRST}.step", "must be a mapping with keys such as reduce, update, gather, gradient (got nothing)"),
    (S + "      update: -1\n", 6, f"{FIRST}.step.update", "negative"),
    (S + "      update: 1 GB\n", 6, f"{FIRST}.step.update", "has the unit GB"),
    (S + "      update: []\n", 6, f"{FIRST}.step.update", "got a list"),
    (S + "      update: {}\n", 6, f"{FIRST}.step.update", "must not be empty"),
    (S + "      update: {flops: 1 s}\n", 6, f"{FIRST}.step.update.flops", "has the unit s"),
    (S + "      update: {flops: 1, h: 3}\n", 6, f"{FIRST}.step.update.h", "is not a key of work of a pass"),
    (S + "      update: {h: {flops: 1}}\n", 6, f"{FIRST}.step.update.h", "got a mapping"),
    (S + "      updates: 1\n", 6, f"{FIRST}.step.updates", "did you mean 'update'?"),
    (S + "      gradient: null\n", 6, f"{FIRST}.step.gradient", "got nothing"),
    (S + "      gradient: {h: 3}\n", 6, f"{FIRST}.step.gradient", "got a mapping"),
    (S + "      gradient: 1e31\n", 6, f"{FIRST}.step.gradient", "absurd"),
]
NEED_THE_READER = ("used twice", "larger than activation", "is less than held_for_weight_grad")
"""What a JSON Schema cannot see."""


@pytest.mark.parametrize(("text", "line", "field", "words"), MISTAKES)
def test_one_error_with_line_and_field(tmp_path: Path, text: str, line: int, field: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        graph_of(tmp_path, text)
    assert words in str(error.value)
    assert (error.value.line, error.value.field) == (line, field)
    assert "\n" not in str(error.value)


VALIDATOR = Draft202012Validator(schema("graph"))


@pytest.mark.parametrize("text", [case[0] for case in MISTAKES if not any(w in case[3] for w in NEED_THE_READER)])
def test_the_schema_refuses_them_too(text: str) -> None:
    assert not VALIDATOR.is_valid(parse_yaml(HEAD + text, "f"))


# -- names of devices ---------------------------------------------------------------------------------------

CLUSTER = "schema: planner/cluster@1\ndevice_types: {h: {}}\ndevices: [{name: g, type: h, count: 2}]\n"


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ("variants: [{name: v, time: {input_grad: {k: 1}}}]", "variants[0].time.input_grad"),
        ("step: {update: {k: 1}}", "step.update"),
    ],
)
def test_times_for_devices_that_do_not_exist(tmp_path: Path, keys: str, field: str) -> None:
    (tmp_path / "c.yaml").write_text(CLUSTER, encoding="utf-8")
    graph = graph_of(tmp_path, f"operators: [{{name: a, time: {{forward: 1}}, {keys}}}]")
    with pytest.raises(ProblemError) as error:
        Problem(graph, read_cluster(tmp_path / "c.yaml"), 1)
    assert f"g.yaml:2: operators[0].{field}: names no device of cluster 'c'" in str(error.value)


# -- anything -----------------------------------------------------------------------------------------------

amounts = st.sampled_from([0, 1, 2.5, 1e31, "1 ms", "2 GB", "3 TFLOP", "-1", None, {}, True])
times = amounts | st.dictionaries(st.sampled_from(["h", "flops", "bytes"]), amounts, max_size=3)
passes = st.dictionaries(st.sampled_from(["forward", "input_grad", "weight_grad", "backward"]), times, max_size=3)
variants = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["base", "v", "w", 3]),
        "time": passes,
        "work": passes,
        "activation": amounts,
        "held_for_weight_grad": amounts,
        "parameters": amounts,
    },
)
steps = st.dictionaries(st.sampled_from(["reduce", "update", "gather", "gradient", "other"]), times, max_size=4)


@settings(max_examples=300, deadline=None)
@given(st.lists(variants, max_size=3), steps, st.sampled_from([0, 1, "2 GB"]), st.booleans() | st.integers(0, 1))
def test_the_schema_sees_what_the_reader_sees(
    tmp_path_factory: pytest.TempPathFactory, some: list[Any], step: Any, activation: Any, clip: Any
) -> None:
    """What one accepts the other does, but for what values say about each other."""
    operator = {"name": "a", "time": {"forward": 1}, "activation": activation, "variants": some, "step": step}
    data = {"schema": "planner/graph@1", "clip_gradients": clip, "operators": [operator]}
    path = tmp_path_factory.mktemp("any") / "g.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    fits = VALIDATOR.is_valid(read_source(path).root)
    try:
        read_graph(path)
    except InputError as error:
        assert not fits or any(words in str(error) for words in NEED_THE_READER)
    else:
        assert fits
