"""What `mutants` runs, and which survivors are no mistakes."""

from __future__ import annotations

__all__ = ["EQUIVALENT", "TESTS"]

SENTENCES = "tests/test_sentences.py"
RULES = (SENTENCES, "tests/test_verdict.py", "tests/test_bound.py", "tests/test_contradictions.py")
BY_HAND = ("-k", "not expose and not with_a_factor and not factor_that and not exact_unless")
ALONE = (SENTENCES, "tests/test_without_truth.py", "-k", "not every_guide and not fit_that_has")
MEASURED = "tests/test_measures.py"
MOMENTS = "quantiles or (independent_draws and svi) or (correlations and svi) or own_errors or exact_fit or correlated"
MANY = "are_still or r_hat_of_many or own_errors or do_not_vary or (not_printed and svi) or (not_printed and nuts)"
BY_HAND_RANKS = "both_have or in_the_middle or it_says or loudest or own_draws or in_sds or quantities_are"
RANKS = ("tests/test_calibration.py", "-k", f"verdict_says or uniform or every_error or as_often or {BY_HAND_RANKS}")

TESTS = {
    "compare.verdict.judge": (*RULES, *BY_HAND),
    "compare.verdict.without_truth": ALONE,
    "compare.verdict.bound": (SENTENCES, "tests/test_bound.py", *BY_HAND),
    "compare.verdict.decision": (
        SENTENCES,
        "tests/test_decision.py",
        "-k",
        "verdict_says or said or point or effective",
    ),
    "compare.verdict.power": (SENTENCES, "tests/test_verdict.py"),
    "compare.verdict.contradictions": (SENTENCES, "tests/test_contradictions.py", "tests/test_bound.py", *BY_HAND),
    "compare.verdict.thresholds": (
        *RULES,
        "tests/test_published.py",
        "-k",
        f"{BY_HAND[1]} and (not published or rules or khat)",
    ),
    "compare.measure.moments": (MEASURED, "-k", MOMENTS),
    "compare.measure.ledger": ("tests/test_ledger.py",),
    "compare.measure.diagnostics": (
        MEASURED,
        "-k",
        "relative_ess or equal_weights or disagree or not_made or worst_of_all or optimiser_ended",
    ),
    "compare.measure.many": (MEASURED, "-k", MANY),
    "compare.measure.elements": (MEASURED, "-k", MANY),
    "compare.measure.truth": (
        MEASURED,
        "tests/test_bound.py",
        "-k",
        "kept_some or references_errors or own_errors or exact_unless",
    ),
    "compare.measure.predictive": ("tests/test_predictions.py",),
    "compare.measure.model_check": ("tests/test_model_check.py", "-k", "not comparison"),
    "compare.verdict.model_check": ("tests/test_model_check.py", "-k", "not comparison"),
    "compare.fit.svi.gap": ("tests/test_gap.py",),
    "compare.calibration.judge": (SENTENCES, *RANKS),
    "compare.calibration.ranks": RANKS,
}
"""The tests that should notice a mistake in a module: pytest's arguments. Those that fit anything stay out."""

TIE = "two floats that are equal: neither side is wrong"
DIGITS = "a reported digit more or less"
CONSTANT = "a constant, of which an sd knows nothing"
NEVER = "a value that is never reached, or that is thrown away"
SEED = "another seed"
SAME = "two fields that are absent together, a word that only has to differ, a default, or the size of a memory"
TYPES = "read by type checkers alone"

EQUIVALENT: dict[str, dict[str, str]] = {
    "compare.verdict.judge": {
        "if max(scores) >= widen(ERRORS, 2 * len(scores))": TIE,
        'if askew else ( -1.0, "")': NEVER,
    },
    "compare.verdict.without_truth": {
        "digits(sd / math.sqrt(count), 7)": DIGITS,
        "own_variance + 1) / 2 - widening": CONSTANT,
        "shift = ((draws + own)": CONSTANT,
        "np.full(count, 2 / count), -math.inf": NEVER,
        "own_variance >= 0 or": NEVER,
        ".reshape(count, -1).T, strict=False)": NEVER,
    },
    "compare.verdict.bound": {
        "ERRORS * gap.mcse >= most.value": TIE,
        "if evidence.mcse is None": SAME,
    },
    "compare.verdict.power": {
        "if summary.diagnostics.ess_tail is not None": SAME,
        'else ("XX", others, own)': SAME,
        "count = min((each.sd / each.mcse_mean)": SAME,
    },
    "compare.verdict.contradictions": {
        "if evidence.mcse is None": SAME,
        "if spread > 0 else -1.0": NEVER,
    },
    "compare.verdict.decision": {
        'else "less" if apart <= 0': NEVER,
        "is_same = abs(apart) < max(": TIE,
    },
    "compare.calibration.judge": {
        'word, inside = "narrow" if tension >= 0': NEVER,
        "@lru_cache(maxsize= 15)": SAME,
    },
    "compare.calibration.ranks": {
        "if diagnostics[ -1] is None": SAME,
        "default_rng([job.fit_seed, 8])": SEED,
    },
    "compare.measure.many": {'with np.errstate( invalid="ignore")': NEVER},
    "compare.measure.diagnostics": {
        "digits(relative_ess(ratio), 7)": DIGITS,
        "digits(min(tails), 9)": DIGITS,
        'method="bulk")) for z in draws), 9)': DIGITS,
        "arviz_stats.rhat(z)) for z in draws), 7)": DIGITS,
        'digits(end["log_evidence_at_mode"], 11)': DIGITS,
        "arviz_stats.ess(z,)) for z": SAME,
    },
    "compare.measure.moments": {
        "if sd > 0 else -1.0": NEVER,
        'TypeVar("XX"': TYPES,
        'TypeVar( float,"Number"': TYPES,
    },
    "compare.measure.ledger": {'digits(end["elbo"], 11)': DIGITS},
    "compare.fit.svi.gap": {"@dataclass(frozen=False)": TYPES},
}
"""Why a survivor does the same as the module without it, by a part of its line."""
