"""``python -m compare``: the command line is `compare.cli.main`."""

from compare.cli.main import leave, main

if __name__ == "__main__":
    leave(main())
