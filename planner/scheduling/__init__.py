"""Level 2: orders and times for a given placement."""
