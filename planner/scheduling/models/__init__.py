"""Exact models of level 2: the counting model."""
