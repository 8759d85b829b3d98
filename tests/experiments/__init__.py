"""Scripts that make the published tables: ``python -m tests.experiments.NAME`` in the project's folder."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests import each other by their bare names
