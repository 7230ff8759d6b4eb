"""The JSON Schemas accept what the readers accept, and refuse what they refuse."""

import jsonschema
import pytest
from test_cluster_file import CASES as CLUSTER_CASES
from test_graph_errors import CASES as GRAPH_CASES

from planner.files import InputError, read_cluster, read_graph, schema
from planner.files.yaml_source import parse_yaml

READERS = {"graph": read_graph, "cluster": read_cluster}
NEEDS_THE_READER = (  # what a schema cannot see: YAML itself, and what values say about each other
    "stands twice", "tag", "must divide", "nests deeper", "is called", "reads", "in a cycle", "used twice",
    "once blocks",
    "larger than activation", "(2 of 0)", "no operator", "at most 1,000,000", "no device type", "called 'H'",
    "of a device", "'g' of a", "another device type", "is a group", "to itself", "more than 100,000",
    "twice in one list", "finite", "called 'gpu2'",
)  # fmt: skip

VALID = {
    "graph": [
        "schema: planner/graph@1\noperators: [{name: a, time: {forward: 1}}]",
        """
schema: planner/graph@1
name: x
mode: inference
microbatches: 20
operators:
  - name: a
    time: {forward: 4.37 ms, input_grad: null, weight_grad: {gpu0: 1, h800: 2 µs}}
    parameters: 1.8 GiB
    activation: 120 MiB
    held_for_weight_grad: "3"
    output: 56 MB
    stream: comm
    colocate: null
    devices: null
  - block: l
    repeat: 3
    inputs: [a]
    output: c
    operators:
      - {name: b, work: {forward: {flops: 1.2 TFLOP, bytes: 3 GB}, weight_grad: {flops: 0}}, inputs: []}
      - {block: c, operators: [{name: d, work: {forward: {flops: 1.2e12}}, colocate: lm, devices: [gpu0, h800]}]}
""",
    ],
    "cluster": [
        "schema: planner/cluster@1\ndevice_types: {h: }\ndevices: [{name: a, type: h}]",
        """
schema: planner/cluster@1
name: x
device_types:
  h: {memory: 80 GiB, peak_flops: 989 TFLOPS, memory_bandwidth: 3.35 TB/s, efficiency: 50 %, transfers: overlap}
  k: {memory: null, efficiency: 1}
devices: [{name: g, type: h, count: 8, node: n0, memory: 3e9}, {name: a, type: k, node: null}]
network:
  within_node: {bandwidth: 160 GB/s, latency: 5 us}
  between_nodes: null
  links: [{from: g0, to: a, bandwidth: 400 Gbit/s, latency: 0}]
""",
    ],
}


def violations(name, text):
    return list(jsonschema.Draft202012Validator(schema(name)).iter_errors(parse_yaml(text, "f")))


@pytest.mark.parametrize("name", READERS)
def test_schemas_are_schemas(name):
    """Valid drafts of 2020-12, self-contained."""
    jsonschema.Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in VALID.items() for text in texts])
def test_schemas_accept_valid_files(tmp_path, name, text):
    """A file that the reader accepts fits the schema."""
    path = tmp_path / "f.yaml"
    path.write_text(text)
    READERS[name](path)
    assert violations(name, text) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (name, text)
        for name, cases in (("graph", GRAPH_CASES), ("cluster", CLUSTER_CASES))
        for text, _, _, words in cases
        if not any(part in words for part in NEEDS_THE_READER)
    ],
)
def test_schemas_refuse_bad_files(name, text):
    """Mistakes of form that the reader reports do not fit the schema either."""
    try:
        assert violations(name, text)
    except InputError:
        pytest.fail("not a case for a schema")


def test_unknown_format():
    """Only three formats exist."""
    with pytest.raises(KeyError, match="graph, cluster, plan"):
        schema("report")
