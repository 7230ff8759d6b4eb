"""Writes a parsed YAML file with a few changes."""

from __future__ import annotations

from typing import Any

import yaml

from planner.files.yaml_source import Map, Seq, resolve_plain
from planner.importers.document import comment_lines


class _Dumper(yaml.SafeDumper):
    """Keeps the order of keys, and quotes text that YAML 1.2 would read as a number (``1e3`` is text in 1.1)."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice in full both times."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    quoted = '"' if value == "" or not isinstance(resolve_plain(value), str) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=quoted)


def _number(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:float", repr(value))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
_Dumper.add_representer(Map, lambda dumper, data: dumper.represent_dict(data.items()))
_Dumper.add_representer(Seq, lambda dumper, data: dumper.represent_list(data))


def dump_tree(root: Map, header: str, original: str) -> str:
    """The tree as YAML, below the header and the comment at the top of the original file."""
    comment = [*comment_lines(header)]
    above = [line for line in original.splitlines() if line.strip()]
    kept = next((k for k, line in enumerate(above) if not line.startswith("#")), len(above))
    if kept:
        comment += ["#", *above[:kept]]
    body = yaml.dump(root, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return "\n".join(comment) + "\n" + body
