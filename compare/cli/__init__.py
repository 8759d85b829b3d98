"""The command line: options to a `compare.comparison.Request`, and the commands."""
