"""Files in and out: YAML and JSON, their schemas, and errors with file, line and field."""

from planner.files.cluster_file import read_cluster
from planner.files.errors import InputError
from planner.files.graph_file import read_graph
from planner.files.schemas import schema

__all__ = ["InputError", "read_cluster", "read_graph", "schema"]
