"""Models as their users write them, for tests/test_own.py."""
