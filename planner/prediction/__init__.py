"""Step time and memory of strategies: how the ranks of a cluster share a model, one row of a table each."""
