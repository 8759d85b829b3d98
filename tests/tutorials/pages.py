"""The pages: where each number stands, and what is true of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from scipy import stats

from tests.tutorials import regressions, truths
from tests.tutorials.truths import Truth

__all__ = ["PAGES", "Page"]

GYM = "https://github.com/tensorflow/probability/blob/2ab6fd4/spinoffs/inference_gym/inference_gym"
REPOSITORIES = {
    "RStan": "https://github.com/stan-dev/rstan/blob/91b49f5/articles/{}.md",
    "posteriordb": "https://github.com/stan-dev/posteriordb/tree/master/posterior_database/{}",
    "Beyond ELBOs": "https://github.com/DenisBless/variational_sampling_methods/blob/b6db042/{}.py",
    "Pyro": "https://github.com/pyro-ppl/pyro/blob/ff6ae1c/tutorial/source/{}.ipynb",
    "NumPyro": "https://github.com/pyro-ppl/numpyro/blob/0b935d4/notebooks/source/{}.ipynb",
    "README": "https://github.com/pyro-ppl/numpyro/blob/0b935d4/README.md",
    "CmdStan": "https://github.com/stan-dev/docs/blob/{}",
    "Gym": f"{GYM}/targets/ground_truth/{{}}.py",
}


@dataclass(frozen=True)
class Page:
    """A page, or a part of one.

    Attributes:
        key: What its numbers stand under in ``printed.csv``.
        source: Project, page and place as Markdown, with a link to the version that was read.
        claim: What is printed.
        method: How the truth is known.
        truth: The quantities' posteriors by name.
        remark: What the verdict alone does not say.
    """

    key: str
    source: str
    claim: str
    method: str
    truth: Callable[[], Mapping[str, Truth]]
    remark: str = ""


def at(project: str, page: str, place: str) -> str:
    """Where something stands: cells are named by their number in the page, as In [29]."""
    name = "NumPyro, README" if project == "README" else f"{project}, {PurePosixPath(page).stem}"
    return f"[{name}]({REPOSITORIES[project].format(page)}), {place}"


def schools_of_the_gym() -> dict[str, Truth]:
    """avg_effect ~ N(0, 10) is mu and log_stddev ~ N(5, 1) is log tau."""
    return truths.schools(10.0, stats.lognorm(1.0, scale=float(np.exp(5.0))))


BY_TAU = "quadrature over tau"
BY_SIGMA = "quadrature over sigma"
LATTICE = "quadrature over all three"
CLOSED = "closed form"

COINS = (
    Page("coin_svi", at("Pyro", "svi_part_i", "sample output"), "SVI with a Beta guide", "Beta(16, 14)", truths.coin),
    Page(
        "coin_map", at("Pyro", "mle_map", "In [29], In [35]"), "the mode, and the likeliest value", CLOSED, truths.coin
    ),
    Page(
        "coin_map_formula",
        at("Pyro", "mle_map", "text before In [36]"),
        "the mode by (10 + 6) / 30",
        "(10 + 6 - 1) / (30 - 2)",
        truths.coin,
        "16 / 30 is the mean; the fit, 0.536, is the mode",
    ),
    Page(
        "scale_exact", at("Pyro", "intro_part_ii", "text before In [6]"), "the exact posterior", CLOSED, truths.weight
    ),
    Page("scale_svi", at("Pyro", "intro_part_ii", "In [10]"), "its fit by SVI", CLOSED, truths.weight),
    Page("csis", at("Pyro", "csis", "In [7]"), "the exact posterior, sd sqrt(5/6)", CLOSED, truths.weight),
    Page(
        "memory_svi", at("Pyro", "working_memory", "In [9]"), "SVI with a Gaussian guide", "quadrature", truths.memory
    ),
    Page(
        "memory_rounds",
        at("Pyro", "working_memory", "In [17]"),
        "the same in each of ten rounds",
        "quadrature",
        truths.memory,
        "just beyond what is tolerated in rounds 2 and 6; all are within 0.01 nats of the best Gaussian",
    ),
    Page(
        "stan_nuts",
        at("CmdStan", "00333a7/src/cmdstan-guide/mcmc_sampling_intro.Rmd", "stansummary"),
        "NUTS",
        "Beta(3, 9)",
        truths.bernoulli,
    ),
    Page(
        "stan_optimum",
        at("CmdStan", "18027a4/src/cmdstan-guide/optimization_intro.qmd", "output"),
        "the likeliest value",
        "2 / 10",
        truths.bernoulli,
    ),
    Page(
        "stan_advi",
        at("CmdStan", "00333a7/src/cmdstan-guide/variational_intro.Rmd", "output"),
        "the last ELBO, 100 draws",
        "the best Gaussian's, by quadrature",
        truths.bernoulli,
    ),
    Page(
        "stan_pathfinder",
        at("CmdStan", "fc2fb31/src/cmdstan-guide/pathfinder_intro.qmd", "output"),
        "four best ELBOs, 25 draws each",
        "the best Gaussian's, by quadrature",
        truths.bernoulli,
        "three stand above the log evidence, -6.2046, which no ELBO does: draws are few, and the best is picked",
    ),
    Page(
        "stan_laplace",
        at("CmdStan", "18027a4/src/cmdstan-guide/laplace_sample_config.qmd", "text"),
        "means and sds of Laplace and of NUTS",
        "Beta(3, 9)",
        truths.bernoulli,
        "a misprint by ten: theta is a probability",
    ),
)

REGRESSIONS = (
    Page(
        "rugged_intro",
        at("Pyro", "bayesian_regression", "In [12], In [13]"),
        "mean field; sigma's median",
        BY_SIGMA,
        regressions.rugged_regression,
        "narrow, as mean field must be (0.52 to 0.62), and not converged",
    ),
    Page(
        "rugged_svi",
        at("Pyro", "bayesian_regression_ii", "In [8]"),
        "mean field",
        BY_SIGMA,
        regressions.rugged_regression,
        "narrow, and not converged",
    ),
    Page(
        "rugged_nuts", at("Pyro", "bayesian_regression_ii", "In [10]"), "NUTS", BY_SIGMA, regressions.rugged_regression
    ),
    Page(
        "rugged_long",
        at("Pyro", "intro_long", "In [56]"),
        "mean field after 1,000 steps",
        BY_SIGMA,
        regressions.rugged_regression,
        "narrow, and not converged",
    ),
    Page(
        "waffles_marriage",
        at("NumPyro", "bayesian_regression", "In [5], In [16]"),
        "NUTS: divorces by marriages",
        BY_SIGMA,
        partial(regressions.waffles, "bM"),
    ),
    Page(
        "waffles_age",
        at("NumPyro", "bayesian_regression", "In [17], In [20]"),
        "NUTS: divorces by age",
        BY_SIGMA,
        partial(regressions.waffles, "bA"),
    ),
    Page(
        "waffles_both",
        at("NumPyro", "bayesian_regression", "In [21], In [22]"),
        "NUTS: divorces by both",
        BY_SIGMA,
        partial(regressions.waffles, "bA", "bM"),
    ),
    Page(
        "waffles_measured",
        at("NumPyro", "bayesian_regression", "In [26]"),
        "NUTS: divorces with measurement error",
        BY_SIGMA,
        partial(regressions.waffles, "bA", "bM", measured=True),
    ),
    Page(
        "line_pathfinder",
        at("NumPyro", "other_samplers", "In [11]"),
        "Pathfinder",
        BY_SIGMA,
        regressions.line,
        "an approximation: narrow in a, and sigma low",
    ),
    Page(
        "line_mclmc", at("NumPyro", "other_samplers", "In [18]"), "microcanonical Langevin", BY_SIGMA, regressions.line
    ),
    Page(
        "ordinal_flat",
        at("NumPyro", "ordinal_regression", "In [5]"),
        "NUTS: flat cutpoints",
        LATTICE,
        partial(regressions.ordinal, "flat"),
    ),
    Page(
        "ordinal_flat_normal",
        at("NumPyro", "ordinal_regression", "In [6]"),
        "NUTS: normal cutpoints",
        LATTICE,
        partial(regressions.ordinal, "normal"),
    ),
    Page(
        "ordinal_ordered",
        at("NumPyro", "ordinal_regression", "In [7]"),
        "NUTS: transformed normal cutpoints",
        LATTICE,
        partial(regressions.ordinal, "ordered"),
    ),
    Page(
        "ordinal_dirichlet",
        at("NumPyro", "ordinal_regression", "In [9]"),
        "NUTS: cutpoints from a Dirichlet",
        LATTICE,
        partial(regressions.ordinal, "dirichlet"),
    ),
    Page(
        "gym_german",
        at("Gym", "german_credit_numeric_logistic_regression", "ground truth"),
        "means and sds by Stan",
        "importance sampling, 33,000 draws",
        regressions.german,
    ),
    Page(
        "breast_cancer",
        at("Beyond ELBOs", "targets/breast_cancer", "log_prob"),
        "a logistic regression, its prior commented out",
        "a linear program",
        regressions.breast_cancer,
        "a plane separates the classes (in scikit-learn's copy of the data), so the target has no integral",
    ),
)

HIERARCHIES = (
    Page(
        "schools_readme_centred",
        at("README", "", "first table"),
        "NUTS, centred: 19 divergences",
        BY_TAU,
        truths.schools,
        "as far as an ess of 91 can tell",
    ),
    Page("schools_readme_noncentred", at("README", "", "second table"), "NUTS, non-centred", BY_TAU, truths.schools),
    Page("schools_new", at("README", "", "last output"), "the mean of a new school", BY_TAU, truths.schools),
    Page(
        "schools_joint",
        at("README", "", "below the tables"),
        "expected log joint densities",
        "400,000 exact draws",
        truths.log_joints,
        "but not to be compared, as the page does: of different variables, they are 8 E[log tau] apart",
    ),
    Page(
        "schools_handlers_centred",
        at("NumPyro", "effect_handlers", "In [32]"),
        "NUTS, centred: 88 divergences",
        BY_TAU,
        truths.schools,
    ),
    Page(
        "schools_handlers_noncentred",
        at("NumPyro", "effect_handlers", "In [33]"),
        "NUTS, non-centred",
        BY_TAU,
        truths.schools,
    ),
    Page(
        "gym_schools", at("Gym", "eight_schools", "ground truth"), "means and sds by Stan", BY_TAU, schools_of_the_gym
    ),
    Page("rstan_schools", at("RStan", "rstan", "print(fit1)"), "NUTS, flat priors", BY_TAU, truths.flat_schools),
    Page(
        "posteriordb_schools",
        at("posteriordb", "reference_posteriors", "means"),
        "its reference",
        BY_TAU,
        truths.schools,
    ),
)

MIXTURES = (
    Page(
        "gmm_map_pyro",
        at("Pyro", "gmm", "In [32]"),
        "a MAP estimate",
        "expectation and maximisation",
        truths.mixture_mode,
        "a stationary point; but the density has no maximum: it is infinite at a weight of 0",
    ),
    Page(
        "gmm_map_numpyro",
        at("NumPyro", "gmm", "In [9]"),
        "a MAP estimate",
        "expectation and maximisation",
        truths.mixture_mode,
        "as before",
    ),
    Page(
        "gmm_nuts",
        at("NumPyro", "gmm", "In [20]"),
        "NUTS, an ess of 8",
        "a sum over assignments, and quadrature",
        truths.gaussian_mixture,
        "both locations have the same posterior, as labels can change places",
    ),
)

PAGES = (*COINS, *REGRESSIONS, *HIERARCHIES, *MIXTURES)
