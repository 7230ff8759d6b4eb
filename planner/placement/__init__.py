"""Level 1: placements, that is, which device runs which operators."""
