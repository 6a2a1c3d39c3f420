"""Interactions, vocabularies and the user-item matrix as sparse row blocks."""
