"""The ladder of references: modes, quadrature, importance sampling, bridge sampling, and which of them to trust."""
