"""Held-out sets and metrics."""
