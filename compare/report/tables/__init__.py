"""The tables' contents, and the terminal's tables."""
