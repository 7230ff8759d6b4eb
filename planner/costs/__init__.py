"""Time of kernels and collectives by shape, type and accelerator: a few documented curves (docs/costs.md)."""
