"""What a graph file means."""

import hashlib
import os
from textwrap import dedent

import pytest

from planner.files import read_graph
from planner.problem.graph import ByDevice, Mode, Pass, Stream, Work


def graph_of(tmp_path, text, name="g.yaml"):
    path = tmp_path / name
    path.write_text("schema: planner/graph@1\n" + dedent(text))
    return read_graph(path)


def inputs_of(graph):
    return {operator.name: list(operator.inputs) for operator in graph.operators}


def test_every_key_is_read(tmp_path):
    """The example of the format, key by key."""
    graph = graph_of(
        tmp_path,
        """\
        name: small
        mode: training
        microbatches: 20
        operators:
          - name: embed
            time: {forward: 1 ms, input_grad: 2 ms, weight_grad: 0.003}
            parameters: 1.5 GiB
            activation: 120 MiB
            held_for_weight_grad: 60 MiB
            output: 56 MiB
          - name: head
            inputs: [embed]
            work: {forward: {flops: 1.2e12, bytes: 3 GB}}
            stream: comm
            colocate: lm
            devices: [gpu0, h800, gpu0]
        """,
    )
    assert (graph.name, graph.mode, graph.microbatches) == ("small", Mode.TRAINING, 20)
    assert graph.path == str(tmp_path / "g.yaml")
    assert graph.sha256 == hashlib.sha256((tmp_path / "g.yaml").read_bytes()).hexdigest()
    embed, head = graph.operators
    assert embed.times == {Pass.F: 0.001, Pass.I: 0.002, Pass.W: 0.003}
    assert list(embed.times) == [Pass.F, Pass.I, Pass.W]
    assert (embed.parameters, embed.activation) == (1.5 * 2**30, 120 * 2**20)
    assert (embed.held_for_weight_grad, embed.output) == (60 * 2**20, 56 * 2**20)
    assert (embed.stream, embed.colocate, embed.devices) == (Stream.COMPUTE, None, None)
    assert (embed.inputs, embed.line) == ((), 6)
    assert head.times == {Pass.F: Work(1.2e12, 3e9), Pass.I: Work(1.2e12, 3e9)}
    assert (head.stream, head.colocate, head.devices) == (Stream.COMM, "lm", ("gpu0", "h800"))
    assert (head.inputs, head.line) == (("embed",), 12)


def test_defaults(tmp_path):
    """Name of the file, training, one microbatch, no memory, nothing sent; held is all of activation."""
    graph = graph_of(tmp_path, "operators: [{name: a, time: {forward: 1}, activation: 7}]", "my.model.yaml")
    assert (graph.name, graph.mode, graph.microbatches) == ("my.model", Mode.TRAINING, 1)
    (a,) = graph.operators
    assert (a.parameters, a.output, a.held_for_weight_grad) == (0, 0, 7)


def test_a_file_name_of_any_bytes_gives_a_name_that_can_be_written(tmp_path):
    """The default name goes into plan.json, which is UTF-8."""
    graph = graph_of(tmp_path, "operators: [{name: a, time: {forward: 1}}]", os.fsdecode(b"x\xff\n.yaml"))
    assert graph.name == "x??"


TWICE = {"gpu0": 2.0, "h800": 0.0}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("time: {forward: 3}", {"F": 3, "I": 3}),
        ("time: {forward: 3}, parameters: 0", {"F": 3, "I": 3}),
        ("time: {forward: 3}, parameters: 1", {"F": 3, "I": 3, "W": 3}),
        ("time: {forward: 0}, parameters: 1", {"F": 0, "I": 0, "W": 0}),
        ("time: {forward: 3, input_grad: null}", {"F": 3, "I": 3}),
        ("time: {forward: 3, input_grad: 0}", {"F": 3, "I": 0}),
        ("time: {forward: 3, input_grad: 4, weight_grad: 5}", {"F": 3, "I": 4, "W": 5}),
        ("time: {forward: 3, weight_grad: 0}, parameters: 1", {"F": 3, "I": 3}),
        ("time: {forward: 3, weight_grad: 0 ms}, parameters: 1", {"F": 3, "I": 3}),
        ("time: {forward: 3, weight_grad: null}, parameters: 1", {"F": 3, "I": 3}),
        ("time: {forward: 3, weight_grad: {gpu0: 2, h800: 0}}", {"F": 3, "I": 3, "W": ByDevice(TWICE)}),
        (
            "time: {forward: {gpu0: 2 s, h800: 0}}, parameters: 1",
            {"F": ByDevice(TWICE), "I": ByDevice(TWICE), "W": ByDevice(TWICE)},
        ),
        ("work: {forward: {flops: 3}}", {"F": Work(3, 0), "I": Work(3, 0)}),
        (
            "work: {forward: {flops: 3 GFLOP, bytes: 1 kB}}, parameters: 1",
            {"F": Work(3e9, 1e3), "I": Work(3e9, 1e3), "W": Work(3e9, 1e3)},
        ),
        (
            "work: {forward: {bytes: 3}, weight_grad: {flops: 0}}, parameters: 1",
            {"F": Work(0, 3), "I": Work(0, 3)},
        ),
        ("work: {forward: {bytes: 3}, input_grad: {bytes: 0}}", {"F": Work(0, 3), "I": Work(0, 0)}),
        (
            "work: {forward: {bytes: 3}, weight_grad: {bytes: 1}}",
            {"F": Work(0, 3), "I": Work(0, 3), "W": Work(0, 1)},
        ),
    ],
)
def test_defaults_of_the_passes(tmp_path, keys, expected):
    """Training fills in I and W from forward; inference keeps F alone."""
    (a,) = graph_of(tmp_path, f"operators: [{{name: a, {keys}}}]").operators
    assert a.times == expected
    (a,) = graph_of(tmp_path, f"mode: inference\noperators: [{{name: a, {keys}}}]").operators
    assert a.times == {Pass.F: expected["F"]}


def test_blocks_chain_their_copies(tmp_path):
    """The first copy reads the block's inputs, copy i+1 reads the output of copy i, others the last copy."""
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - {name: embed, time: {forward: 1}}
          - block: layer
            repeat: 3
            inputs: [embed]
            output: combine
            operators:
              - {name: attn, time: {forward: 1}}
              - {name: combine, time: {forward: 1}, inputs: [attn]}
              - {name: aside, time: {forward: 1}, inputs: []}
              - {name: skip, time: {forward: 1}, inputs: [embed, combine, embed]}
          - {name: head, time: {forward: 1}, inputs: [layer]}
          - {name: probe, time: {forward: 1}, inputs: [layer.1.attn]}
        """,
    )
    assert inputs_of(graph) == {
        "embed": [],
        "layer.0.attn": ["embed"],
        "layer.0.combine": ["layer.0.attn"],
        "layer.0.aside": [],
        "layer.0.skip": ["embed", "layer.0.combine"],
        "layer.1.attn": ["layer.0.combine"],
        "layer.1.combine": ["layer.1.attn"],
        "layer.1.aside": [],
        "layer.1.skip": ["embed", "layer.1.combine"],
        "layer.2.attn": ["layer.1.combine"],
        "layer.2.combine": ["layer.2.attn"],
        "layer.2.aside": [],
        "layer.2.skip": ["embed", "layer.2.combine"],
        "head": ["layer.2.combine"],
        "probe": ["layer.1.attn"],
    }
    assert {o.line for o in graph.operators if o.name.endswith("attn")} == {9}


def test_blocks_nest(tmp_path):
    """Names are outer.0.inner.1.op; a block without inputs reads the enclosing block's; last output by default."""
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - {name: a, time: {forward: 1}}
          - block: outer
            repeat: 2
            inputs: [a]
            operators:
              - {name: first, time: {forward: 1}}
              - block: inner
                repeat: 2
                operators:
                  - {name: op, time: {forward: 1}}
                  - {name: a, time: {forward: 1}, inputs: [op, first]}
              - block: source
                inputs: []
                operators: [{name: op, time: {forward: 1}}]
              - block: last
                inputs: [inner, source]
                operators: [{name: op, time: {forward: 1}}, {name: end, time: {forward: 1}, inputs: [op, a]}]
          - {name: z, time: {forward: 1}, inputs: [outer]}
        """,
    )
    assert inputs_of(graph) == {
        "a": [],
        "outer.0.first": ["a"],
        "outer.0.inner.0.op": ["a"],
        "outer.0.inner.0.a": ["outer.0.inner.0.op", "outer.0.first"],
        "outer.0.inner.1.op": ["outer.0.inner.0.a"],
        "outer.0.inner.1.a": ["outer.0.inner.1.op", "outer.0.first"],
        "outer.0.source.0.op": [],
        "outer.0.last.0.op": ["outer.0.inner.1.a", "outer.0.source.0.op"],
        "outer.0.last.0.end": ["outer.0.last.0.op", "a"],
        "outer.1.first": ["outer.0.last.0.end"],
        "outer.1.inner.0.op": ["outer.0.last.0.end"],
        "outer.1.inner.0.a": ["outer.1.inner.0.op", "outer.1.first"],
        "outer.1.inner.1.op": ["outer.1.inner.0.a"],
        "outer.1.inner.1.a": ["outer.1.inner.1.op", "outer.1.first"],
        "outer.1.source.0.op": [],
        "outer.1.last.0.op": ["outer.1.inner.1.a", "outer.1.source.0.op"],
        "outer.1.last.0.end": ["outer.1.last.0.op", "a"],
        "z": ["outer.1.last.0.end"],
    }


def test_a_block_without_inputs_at_the_top_starts_with_sources(tmp_path):
    """Repeat is 1 by default, and copies carry their number even then; the output may be a nested block."""
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - block: b
            output: deep
            operators:
              - block: deep
                output: x
                operators: [{name: x, time: {forward: 1}}, {name: y, time: {forward: 1}}]
              - {name: tail, time: {forward: 1}, inputs: [deep]}
          - {name: z, time: {forward: 1}, inputs: [b]}
        """,
    )
    assert inputs_of(graph) == {
        "b.0.deep.0.x": [],
        "b.0.deep.0.y": [],
        "b.0.tail": ["b.0.deep.0.x"],
        "z": ["b.0.deep.0.x"],
    }


def test_order_in_the_file_is_free(tmp_path):
    """An operator may name a later one; the order of the operators stays the file's."""
    graph = graph_of(
        tmp_path,
        "operators: [{name: z, time: {forward: 1}, inputs: [a]}, {name: a, time: {forward: 1}}]",
    )
    assert inputs_of(graph) == {"z": ["a"], "a": []}


def test_colocate_labels_are_local_to_a_copy(tmp_path):
    """One label at the top, one in each copy, and no label of one scope equals that of another."""
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - {name: a, time: {forward: 1}, colocate: lm}
          - {name: b, time: {forward: 1}, colocate: lm}
          - {name: c, time: {forward: 1}, colocate: layer.0.lm}
          - block: layer
            repeat: 2
            operators:
              - {name: x, time: {forward: 1}, colocate: lm}
              - {name: y, time: {forward: 1}, colocate: lm}
        """,
    )
    labels = {o.name: o.colocate for o in graph.operators}
    assert labels["a"] == labels["b"]
    assert labels["layer.0.x"] == labels["layer.0.y"]
    assert labels["layer.1.x"] == labels["layer.1.y"]
    assert len(set(labels.values())) == 4


def test_anchors_share_operators_settings(tmp_path):
    """A merge key fills in what an operator leaves out."""
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - &a {name: a, time: {forward: 1}, activation: 3}
          - {<<: *a, name: b, inputs: [a]}
        """,
    )
    assert [(o.name, o.activation, o.line) for o in graph.operators] == [("a", 3, 3), ("b", 3, 4)]


def test_twenty_thousand_operators_read_quickly(tmp_path):
    """Blocks are unrolled in linear time (the limit is generous: machines differ)."""
    import time

    start = time.perf_counter()
    graph = graph_of(
        tmp_path,
        """\
        operators:
          - block: layer
            repeat: 5000
            operators:
              - {name: a, time: {forward: 1}}
              - {name: b, time: {forward: 1}, inputs: [a]}
              - {name: c, time: {forward: 1}, inputs: [b]}
              - {name: d, time: {forward: 1}, inputs: [c]}
        """,
    )
    assert len(graph.operators) == 20_000
    assert time.perf_counter() - start < 5
