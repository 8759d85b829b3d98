"""What is said of a fit: every rule and every threshold."""
