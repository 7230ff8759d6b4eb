"""The inputs in configs/, one module a family; ``scripts/make_configs.py`` writes them."""
