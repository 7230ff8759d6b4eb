"""Exact solutions: a decomposition over both levels, with proof. See ``decomposition``."""
