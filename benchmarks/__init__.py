"""How fast is it, beside the raw libraries, in one run: `python -m benchmarks`."""
