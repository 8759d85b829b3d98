"""Cached fits and reports, keyed by a hash of their inputs. No module here loads a probabilistic programming library.

`keys` computes the keys, `store` manages the folder, `fits` caches fits, `reports` the finished folders of comparisons.
"""
