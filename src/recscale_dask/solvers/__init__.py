"""Solvers: where kernels meet executors."""
