"""Level 1: what is merged, and which device runs it."""
