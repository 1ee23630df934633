"""Benchmarks: statistics over cases, folds and seeds, comparison of runs, published anchors, suites. No torch."""
