"""Benchmarks and experiments of gptcore; run with `pytest --benchmark-only` from the checkout."""
