"""Hugging Face configs, read to the dimensions of a transformer."""
