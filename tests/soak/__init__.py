"""Long harnesses: `python -m tests.soak --help`."""
