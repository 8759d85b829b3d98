"""The benchmark: the zoo's fits beside the libraries' default loops.

Nothing heavy is imported here: the processes whose start is timed import this package too.
"""
