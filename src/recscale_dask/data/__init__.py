"""Interactions, vocabularies, the user-item matrix as sparse row blocks, and dense matrices."""
