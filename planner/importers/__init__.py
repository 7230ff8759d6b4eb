"""From other formats to ``graph.yaml``: one reader a format, all ending in a ``Document``."""
