"""Bundles: find them, compose their configs, check them without running them, run them."""
