"""The posterior of a small model by quadrature: all modes, boxes around them, and what they say of a user's model."""
