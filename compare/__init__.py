"""Everything that happens to a model: plan, fits, measures, verdicts, report."""
