"""Scripts that make the published tables."""
