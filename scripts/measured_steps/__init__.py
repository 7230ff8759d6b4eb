"""Measured training steps, and how near predictions of them come."""
