"""Cached fits and reports, keyed by a hash of their inputs. No module here loads a probabilistic programming library.

`keys` computes the keys, `store` manages the folder, `fit_cache` caches fits, `reports` finished comparisons' folders.
"""
