"""The command line: arguments to a request, and the commands."""
