"""What a cluster file means, and what is wrong with one."""

import hashlib
from pathlib import Path
from textwrap import dedent

import pytest

from planner.files import InputError, read_cluster
from planner.files.shipped import folder
from planner.problem.cluster import Device, DeviceType, Link, NetworkLevel

HEAD = "schema: planner/cluster@1\n"
TYPES = HEAD + "device_types: {h: {}}\n"
DEVICES = TYPES + "devices: [{name: gpu, type: h, count: 2}, {name: cpu, type: h}]\n"


def cluster_of(tmp_path, text):
    path = tmp_path / "my cluster.yaml"
    path.write_text(text)
    return read_cluster(path)


def test_every_key_is_read(tmp_path):
    """The example of the format, key by key."""
    text = dedent("""\
        schema: planner/cluster@1
        name: h800x2
        device_types:
          h800:
            memory: 80 GiB
            peak_flops: 989 TFLOPS
            memory_bandwidth: 3.35 TB/s
            efficiency: 0.5
            transfers: exclusive
        devices:
          - {name: gpu, type: h800, count: 2, node: n0}
          - {name: big, type: h800, memory: 141 GB}
        network:
          within_node:   {bandwidth: 160 GB/s, latency: 5 us}
          between_nodes: {bandwidth: 50 GB/s, latency: 10 us}
          links: [{from: gpu0, to: gpu1, bandwidth: 200 GB/s, latency: 3 us}]
        """)
    cluster = cluster_of(tmp_path, text)
    h800 = DeviceType("h800", 80 * 2.0**30, 989e12, 3.35e12, 0.5, exclusive_transfers=True)
    assert cluster.name == "h800x2"
    assert cluster.types == {"h800": h800}
    assert cluster.devices == (
        Device("gpu0", "gpu", h800, "n0", h800.memory),
        Device("gpu1", "gpu", h800, "n0", h800.memory),
        Device("big", "big", h800, None, 141e9),
    )
    assert cluster.within_node == NetworkLevel(160e9, 5e-6)
    assert cluster.between_nodes == NetworkLevel(50e9, 1e-5)
    assert cluster.links == (Link("gpu0", "gpu1", NetworkLevel(200e9, 3e-6)),)
    assert cluster.sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert cluster.path == str(tmp_path / "my cluster.yaml")


@pytest.mark.parametrize("empty", ["{}", "null", ""])
def test_defaults(tmp_path, empty):
    """A type may say nothing: no cap, no rates, full efficiency, overlapping transfers, a free network."""
    cluster = cluster_of(tmp_path, HEAD + f"device_types:\n  h: {empty}\ndevices: [{{name: a, type: h, count: 1}}]\n")
    assert cluster.name == "my cluster"
    assert cluster.types["h"] == DeviceType("h")
    assert cluster.devices == (Device("a0", "a", DeviceType("h"), None, None),)
    assert (cluster.within_node, cluster.between_nodes, cluster.links) == (None, None, ())


@pytest.mark.parametrize(
    ("network", "within", "links"),
    [
        ("null", None, ()),
        ("{}", None, ()),
        ("{within_node: null, links: null}", None, ()),
        ("{within_node: {}}", NetworkLevel(None, 0), ()),
        ("{within_node: {latency: 1 ms}}", NetworkLevel(None, 0.001), ()),
        ("{within_node: {bandwidth: 3}}", NetworkLevel(3, 0), ()),
        ("{links: [{from: gpu0, to: cpu}]}", None, (Link("gpu0", "cpu", NetworkLevel()),)),
    ],
)
def test_parts_of_the_network_may_be_left_out(tmp_path, network, within, links):
    """An entry without bandwidth costs its latency only; what is left out is free."""
    cluster = cluster_of(tmp_path, DEVICES + f"network: {network}\n")
    assert (cluster.within_node, cluster.links) == (within, links)


def test_a_device_may_be_called_as_its_own_type(tmp_path):
    """Then the name stands for the same devices either way."""
    cluster = cluster_of(
        tmp_path, HEAD + "device_types: {h: , cpu: }\ndevices: [{name: h, type: h, count: 2}, {name: cpu, type: cpu}]\n"
    )
    assert [device.name for device in cluster.devices] == ["h0", "h1", "cpu"]


CASES = [
    ("schema: planner/graph@1\n", 1, "schema", "this is a graph file where a cluster file belongs"),
    (HEAD, 1, "device_types", "is missing"),
    (TYPES, 1, "devices", "is missing"),
    (HEAD + "device_types: {}\n", 2, "device_types", "must not be empty"),
    (HEAD + "device_types: [h]\n", 2, "device_types", "must be a mapping"),
    (HEAD + "device_types: {h: 80 GiB}\n", 2, "device_types.h", "must be a mapping"),
    (HEAD + "device_types: {'': {}}\n", 2, "device_types['']", "must not be empty"),
    (HEAD + "device_types:\n  h:\n    memory: 80 Gib\n", 4, "device_types.h.memory", "did you mean GiB?"),
    (HEAD + "device_types:\n  h: {memory: -1}\n", 3, "device_types.h.memory", "negative"),
    (HEAD + "device_types:\n  h: {memory: 3 s}\n", 3, "device_types.h.memory", "one of time"),
    (HEAD + "device_types:\n  h: {peak_flops: 0}\n", 3, "device_types.h.peak_flops", "must be above 0"),
    (HEAD + "device_types:\n  h: {peak_flops: 3 GB/s}\n", 3, "device_types.h.peak_flops", "one of bandwidth"),
    (HEAD + "device_types:\n  h: {memory_bandwidth: 3 GB}\n", 3, "device_types.h.memory_bandwidth", "one of size"),
    (HEAD + "device_types:\n  h: {efficiency: 0}\n", 3, "device_types.h.efficiency", "above 0"),
    (HEAD + "device_types:\n  h: {efficiency: 1.01}\n", 3, "device_types.h.efficiency", "at most 1"),
    (HEAD + "device_types:\n  h: {efficiency: -0.5}\n", 3, "device_types.h.efficiency", "negative"),
    (HEAD + "device_types:\n  h: {efficiency: null}\n", 3, "device_types.h.efficiency", "got nothing"),
    (HEAD + "device_types:\n  h: {transfers: exclusiv}\n", 3, "device_types.h.transfers", "'exclusive'?"),
    (HEAD + "device_types:\n  h: {transfers: yes}\n", 3, "device_types.h.transfers", "overlap or exclusive"),
    (HEAD + "device_types:\n  h: {memmory: 1}\n", 3, "device_types.h.memmory", "did you mean 'memory'?"),
    (TYPES + "devices: []\n", 3, "devices", "must not be empty"),
    (TYPES + "devices: {gpu: h}\n", 3, "devices", "must be a list"),
    (TYPES + "devices:\n- gpu\n", 4, "devices[0]", "must be a mapping"),
    (TYPES + "devices:\n- {type: h}\n", 4, "devices[0].name", "is missing"),
    (TYPES + "devices:\n- {name: g}\n", 4, "devices[0].type", "is missing"),
    (TYPES + "devices:\n- {name: g, type: H}\n", 4, "devices[0].type", "called 'H': did you mean 'h'?"),
    (TYPES + "devices:\n- {name: 0, type: h}\n", 4, "devices[0].name", "put it in quotes, '0'"),
    (TYPES + "devices:\n- {name: g, type: h, count: 0}\n", 4, "devices[0].count", "from 1 to"),
    (TYPES + "devices:\n- {name: g, type: h, nodes: 2}\n", 4, "devices[0].nodes", "give count, too"),
    (TYPES + "devices:\n- {name: g, type: h, count: 2, nodes: 2, node: n}\n", 4, "devices[0].nodes", "leave out node"),
    (
        TYPES + "devices:\n- {name: g, type: h, count: 9999, nodes: 99}\n",
        4,
        "devices[0].nodes",
        "more than 100,000",
    ),
    (TYPES + "devices:\n- {name: g, type: h, count: '2'}\n", 4, "devices[0].count", "whole number"),
    (TYPES + "devices:\n- {name: g, type: h, count: 1e9}\n", 4, "devices[0].count", "to 100,000"),
    (TYPES + "devices:\n- {name: g, type: h, node: 0}\n", 4, "devices[0].node", "put it in quotes"),
    (TYPES + "devices:\n- {name: g, type: h, memory: x}\n", 4, "devices[0].memory", "is not a size"),
    (
        TYPES + "devices:\n- {name: g, type: h, count: 99999}\n- {name: k, type: h, count: 2}\n",
        5,
        "devices[1].count",
        "more than 100,000",
    ),
    (
        TYPES + "devices:\n- {name: gpu1, type: h}\n- {name: gpu, type: h, count: 2}\n",
        5,
        "devices[1].name",
        "'gpu1' of a device or group is taken by the entry in line 4",
    ),
    (TYPES + "devices:\n- {name: g, type: h}\n- {name: g, type: h}\n", 5, "devices[1].name", "'g' of a device"),
    (TYPES + "devices:\n- {name: g, type: h, count: 2}\n- {name: g, type: h}\n", 5, "devices[1].name", "'g' of a"),
    (
        HEAD + "device_types: {a: {}, b: {}}\ndevices:\n- {name: a, type: b}\n",
        4,
        "devices[0].name",
        "'a' is the name of another device type",
    ),
    (
        HEAD + "device_types: {g0: {}, b: {}}\ndevices:\n- {name: g, type: b, count: 1}\n",
        4,
        "devices[0].name",
        "'g0' is the name of another device type",
    ),
    (DEVICES + "network: [1]\n", 4, "network", "must be a mapping"),
    (DEVICES + "network: {within: {}}\n", 4, "network.within", "did you mean 'within_node'?"),
    (DEVICES + "network:\n  within_node: {bandwidth: 0}\n", 5, "network.within_node.bandwidth", "above 0"),
    (DEVICES + "network:\n  within_node: {bandwidth: 0 GB/s}\n", 5, "network.within_node.bandwidth", "above 0"),
    (DEVICES + "network:\n  within_node: {bandwidth: 5 GB}\n", 5, "network.within_node.bandwidth", "one of size"),
    (DEVICES + "network:\n  between_nodes: {latency: -5 us}\n", 5, "network.between_nodes.latency", "negative"),
    (DEVICES + "network:\n  links: {from: a}\n", 5, "network.links", "must be a list"),
    (DEVICES + "network:\n  links:\n  - {from: gpu0}\n", 6, "network.links[0].to", "is missing"),
    (DEVICES + "network:\n  links:\n  - {from: gpu0, to: gpu2}\n", 6, "network.links[0].to", "called 'gpu2'"),
    (DEVICES + "network:\n  links:\n  - {from: gpu, to: cpu}\n", 6, "network.links[0].from", "'gpu' is a group"),
    (DEVICES + "network:\n  links:\n  - {from: cpu, to: cpu}\n", 6, "network.links[0].to", "to itself"),
    (
        DEVICES + "network:\n  links:\n  - {from: gpu0, to: cpu}\n  - {from: cpu, to: gpu0}\n"
        "  - {from: gpu0, to: cpu}\n",
        8,
        "network.links[2].from",
        "stands twice (first in line 6)",
    ),
    (
        DEVICES + "network:\n  links:\n  - {from: gpu0, to: cpu, bandwith: 1}\n",
        6,
        "network.links[0].bandwith",
        "'bandwidth'?",
    ),
]


@pytest.mark.parametrize(("text", "line", "field", "words"), CASES)
def test_bad_clusters_are_one_error_with_line_and_field(tmp_path, text, line, field, words):
    """Each mistake is reported where it stands, in one line of text, with what to do about it."""
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_cluster(path)
    message = str(error.value)
    assert words in message
    assert (error.value.line, error.value.field) == (line, field)
    assert message.startswith(f"{path}:{line}: {field}: ")
    assert "\n" not in message


def test_many_nodes(tmp_path):
    """Eight to a node, numbered through."""
    cluster = cluster_of(tmp_path, TYPES + "devices: [{name: gpu, type: h, count: 8, nodes: 64}]\n")
    assert [device.name for device in cluster.devices] == [f"gpu{i}" for i in range(512)]
    assert [device.node for device in cluster.devices] == [f"gpu-node{i // 8}" for i in range(512)]
    assert {device.group for device in cluster.devices} == {"gpu"}


def test_a_shipped_cluster_by_name():
    """So many nodes of so many GPUs, with the rates and the network of the file."""
    cluster, one = read_cluster(Path("h100:4x2")), read_cluster(folder() / "clusters" / "h100-8.yaml")
    assert cluster.name == "h100:4x2" == read_cluster(Path("H100:4x2")).name
    assert [device.node for device in cluster.devices] == [f"gpu-node{i // 2}" for i in range(8)]
    assert cluster.devices[0].type == one.devices[0].type
    assert (cluster.within_node, cluster.between_nodes) == (one.within_node, one.between_nodes)
    with pytest.raises(InputError, match="no cluster is shipped for h101: did you mean 'h100'"):
        read_cluster(Path("h101:1x8"))
    with pytest.raises(InputError, match="no such file"):
        read_cluster(Path("h100:0x8"))
    with pytest.raises(InputError, match="File name too long"):
        read_cluster(Path("x" * 5000))
