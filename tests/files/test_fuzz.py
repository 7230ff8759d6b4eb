"""Whatever a file holds, reading it gives a result or an InputError."""

import tempfile
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from planner.files import InputError, read_cluster, read_graph, schema
from planner.files.yaml_source import read_source

READERS = {"graph": read_graph, "cluster": read_cluster}

GRAPH_WORDS = ["schema", "name", "mode", "microbatches", "operators", "block", "repeat", "inputs", "output"]
GRAPH_WORDS += ["time", "work", "forward", "input_grad", "weight_grad", "flops", "bytes", "colocate", "devices"]
CLUSTER_WORDS = ["schema", "name", "device_types", "devices", "type", "count", "node", "memory", "efficiency"]
CLUSTER_WORDS += ["network", "links", "from", "to", "within_node", "bandwidth", "latency", "transfers"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**40),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["a", "b", "1 ms", "1 GiB", "3 GB/s", "-1 s", "1e999 s", "training", "planner/graph@1"]),
)


def values(words):
    keys = st.sampled_from(words) | st.text(max_size=4)
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
    )


operators = st.recursive(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc"), "time": st.fixed_dictionaries({"forward": st.just(1) | scalars})},
        optional={"inputs": st.lists(st.sampled_from(["a", "b", "c", "l", "l.0.a", "l.1.b"]), max_size=2)},
    ),
    lambda inner: st.fixed_dictionaries(
        {"block": st.sampled_from("lm"), "operators": st.lists(inner, min_size=1, max_size=3)},
        optional={"repeat": st.integers(1, 3), "output": st.sampled_from("abcl")},
    ),
    max_leaves=6,
)


SCHEMAS = [(read, Draft202012Validator(schema(name))) for name, read in READERS.items()]


def reads_or_complains(content):
    """What a reader accepts fits its schema; what it refuses, it refuses in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.yaml"
        path.write_bytes(content)
        for read, validator in SCHEMAS:
            try:
                read(path)
            except InputError as error:
                assert "\n" not in str(error)
            else:
                assert validator.is_valid(read_source(path).root)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80))
def test_random_bytes(content):
    """Bytes of any kind."""
    reads_or_complains(content)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab01.e-+:#&*!|>%@?,[]{}'\"<~ \n\t\r\\\x85é\ufeff"), max_size=60))
def test_random_yaml_punctuation(text):
    """Text made of the characters that mean something to YAML."""
    reads_or_complains(text.encode())


@settings(max_examples=200, deadline=None)
@given(values(GRAPH_WORDS) | values(CLUSTER_WORDS), st.sampled_from(["graph", "cluster"]))
def test_random_data_under_known_keys(data, kind):
    """Well-formed YAML with the format's keys and any values."""
    data = {**data, "schema": f"planner/{kind}@1"} if isinstance(data, dict) else data
    reads_or_complains(yaml.safe_dump(data, allow_unicode=True, sort_keys=False).encode("utf-8", "replace"))


amounts = st.sampled_from(
    [0, 1, 0.5, 1e30, "0", "1 ms", "2 GB", "3 GB/s", "4 TFLOPS", "5 %", "+1e-3", ".5 s", None, {}]
)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["memory", "peak_flops", "memory_bandwidth", "efficiency"]), amounts),
    st.dictionaries(st.sampled_from(["count", "node", "memory"]), amounts | st.integers(1, 3)),
    st.dictionaries(st.sampled_from(["bandwidth", "latency"]), amounts),
)
def test_random_clusters(kind, device, level):
    """Clusters that are almost right: any amounts in any place."""
    device = {"name": "a", "type": "h", **device}
    network = {"within_node": level, "links": [{"from": "a0", "to": "a1", **level}]}
    data = {"schema": "planner/cluster@1", "device_types": {"h": kind}, "devices": [device], "network": network}
    reads_or_complains(yaml.safe_dump(data, sort_keys=False).encode())


@settings(max_examples=300, deadline=None)
@given(st.lists(operators, min_size=1, max_size=4))
def test_random_graphs(entries):
    """Graphs that are almost right: names, blocks and inputs in any combination."""
    data = {"schema": "planner/graph@1", "operators": entries}
    reads_or_complains(yaml.safe_dump(data, sort_keys=False).encode())
