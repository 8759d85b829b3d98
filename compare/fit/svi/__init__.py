"""Stochastic variational inference: the optimiser, the gap that it leaves, the objectives in both libraries."""
