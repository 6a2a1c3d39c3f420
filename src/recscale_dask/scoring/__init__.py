"""Scoring: top-k, pairs, rectangles and neighbours from a fitted model."""
