"""Markov chain Monte Carlo in both libraries, and the reference made with it."""
