"""Compiled hot loops on numpy arrays. Nothing here knows a file, a label convention or a metric."""
