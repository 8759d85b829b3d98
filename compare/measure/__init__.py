"""Fits and truth in, numbers out."""
