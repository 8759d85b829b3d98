"""Posteriors without a guide: modes, quadrature, importance sampling, a long run's evidence."""
