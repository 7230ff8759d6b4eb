"""What scripts/fuzz.py is made of: valid files, mutations of them, command lines around them, and what must hold."""
