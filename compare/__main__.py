"""``python -m compare``: the command line is `compare.cli.main`."""

from compare.cli.errors import leave
from compare.cli.main import main

if __name__ == "__main__":
    leave(main())
