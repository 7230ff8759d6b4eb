"""Exact models of level 2: counts of microbatches, and order variables."""
