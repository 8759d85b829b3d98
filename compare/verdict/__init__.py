"""The verdicts on fits: every rule and every threshold."""
