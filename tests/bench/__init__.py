"""The benchmark: `python -m tests.bench` prints every number that the README and the model cards' marks rest on.

Speeds are ratios against a peer that runs in the same process, interleaved, with n, median and spread; they are never tests.
"""
