"""A graph of two operators and a pair of devices, for the tests of the command line."""

from __future__ import annotations

GRAPH = """
schema: planner/graph@1
name: two
microbatches: 4
operators:
  - {name: a, time: {forward: 1}, parameters: 1 GiB, activation: 1 GiB, output: 1 MB}
  - {name: b, time: {forward: 1}, parameters: 1 GiB, activation: 1 GiB, inputs: [a]}
"""
CLUSTER = """
schema: planner/cluster@1
name: pair
device_types: {small: {memory: 8 GiB}}
devices: [{name: gpu, type: small, count: 2}]
"""
