"""Fits and truth in, numbers out. Every Monte Carlo number comes with its standard error; all are library-free."""
