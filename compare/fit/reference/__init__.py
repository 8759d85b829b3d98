"""What is known of a posterior without a guide: its modes, quadrature, importance sampling, the evidence of a long run."""
