"""Benchmarks: side by side with peers, in one run, on pinned cores; medians and ratios.

Each writes `bench/results/NAME.json` (see results.py) and prints a table. Nothing of it is in the product.
"""
