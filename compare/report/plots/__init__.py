"""The plots, in one style."""
