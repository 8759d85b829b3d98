"""What is known of a posterior without a guide: modes, quadrature, importance sampling, a long run's evidence."""
