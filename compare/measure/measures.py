"""Fit and truth in, numbers out. Every Monte Carlo number comes with its standard error; all are library-free."""

from __future__ import annotations

import warnings
from typing import Any

import arviz_stats
import numpy as np
import xarray as xr
from arviz_stats.base import array_stats

from compare import registry
from compare.comparison import Fit
from compare.measure.predictive import score
from compare.measure.truth import Truth
from models.contract import Best, element

__all__ = ["CHAINS", "blank", "measure", "smoothed", "values"]

Number = dict[str, float]

LEDGER = (
    "elbo",
    "data_fit",
    "complexity",
    "evidence_gap",
    "family_gap",
    "amortisation_gap",
    "optimisation_gap",
)
VARIABLE = (
    "mean",
    "sd",
    "q2.5",
    "median",
    "q97.5",
    "mcse_mean",
    "mcse_sd",
    "mean_error",
    "sd_ratio",
    "mcse_mean_error",
    "mcse_sd_ratio",
)
CHAINS = ("nuts", "reference")
"""The methods whose draws are those of Markov chains."""

DIAGNOSTICS = ("r_hat", "ess_bulk", "ess_tail", "divergences", "e_bfmi", "khat")


def blank(fit: Fit) -> dict[str, Any]:
    """The summary of a fit before anything is measured: every key, null where nothing is known."""
    reported = [element(site, index) for site, index in fit.job.data.reported()]
    return {
        "library": fit.job.library,
        "guide": fit.job.guide,
        "method": fit.job.method,
        "status": fit.status,
        "reason": fit.reason,
        "seconds": fit.seconds,
        "gradients": fit.gradients,
        "variables": {name: dict.fromkeys(VARIABLE) for name in reported},
        "correlations": {},
        "diagnostics": dict.fromkeys(DIAGNOSTICS),
        "optimisation": None,
        "ledger": dict.fromkeys(LEDGER),
        "predictions": None,
        "without_truth": None,
        "verdict": None,
    }


def measure(fit: Fit, exact: Truth | None, best: Best | None) -> dict[str, Any]:
    """The summary of one fit, but for its verdict; ``exact`` is what it is held against."""
    summary = blank(fit)
    if fit.tree is None:
        return summary
    truth = {"mean": exact.mean(), "sd": exact.sd()} if exact else None
    reported = fit.job.data.reported()
    independent = fit.job.method not in CHAINS
    for site, index in reported:
        draws = values(fit.tree, site, index)
        itself = fit.job.method == "reference"
        errors = exact.errors(site, index) if hasattr(exact, "errors") and not itself else (0.0, 0.0)
        entry = variable(draws, truth, site, index, independent, errors)
        if itself:  # against itself a reference has no error
            entry |= {"mean_error": 0.0, "sd_ratio": 1.0, "mcse_mean_error": 0.0, "mcse_sd_ratio": 0.0}
        summary["variables"][element(site, index)] = entry
    if fit.job.method == "exact":
        for site, index in reported:
            summary["variables"][element(site, index)] |= {
                "mean": float(truth["mean"][site][index]),
                "sd": float(truth["sd"][site][index]),
                "q2.5": float(exact.quantile(0.025)[site][index]),
                "median": float(exact.quantile(0.5)[site][index]),
                "q97.5": float(exact.quantile(0.975)[site][index]),
                "mcse_mean": 0.0,
                "mcse_sd": 0.0,
                "mean_error": 0.0,
                "sd_ratio": 1.0,
                "mcse_mean_error": 0.0,
                "mcse_sd_ratio": 0.0,
            }
    summary["correlations"] = correlations(fit, exact, independent)
    summary["diagnostics"] = diagnostics(fit, reported)
    summary["optimisation"] = optimisation(fit)
    summary["ledger"] = ledger(fit, exact, best)
    summary["predictions"] = predictions(fit)
    return summary


def predictions(fit: Fit) -> dict[str, Any] | None:
    """The scores of a fit on what the data hold out; None where they hold out nothing, or ask what it does not say."""
    model, data = registry.load(fit.job.model), fit.job.data
    part = model.prediction
    if part is None:
        return None
    found = part.exact_predictions(data) if fit.job.method == "exact" and part.exact_predictions else None
    group = "posterior" if part.queries is None or part.queries(data) is None else "queries"
    if found is None and group in fit.tree:
        draws = fit.tree[group].dataset
        apart = draws[next(iter(draws))].dims.index("draw") + 1  # dimensions that are draws: there may be no chains
        latents = {str(site): draws[site].values.reshape(-1, *draws[site].shape[apart:]) for site in draws}
        found = part.predict(data, latents)
    scores = {} if found is None else score(found)
    return (scores | (score(part.scores(data, fit.tree)) if part.scores else {})) or None


def digits(value: float, count: int) -> float:
    """The value to so many significant digits. What lies beyond differs from run to run: compiled code adds in no fixed
    order."""
    return float(f"{value:.{count}g}")


def values(tree: xr.DataTree, site: str, index: tuple[int, ...]) -> np.ndarray:
    """The draws of one element, shape (chain, draw)."""
    labels = {f"{site}_dim_{axis}": position for axis, position in enumerate(index)}
    return tree["posterior"][site].sel(labels).values


def standard_error(draws: np.ndarray, independent: bool) -> float:
    """The standard error of the mean of draws, shape (chain, draw)."""
    if independent:
        return float(np.std(draws, ddof=1) / np.sqrt(draws.size))
    return float(arviz_stats.mcse(draws, method="mean", chain_axis=0, draw_axis=1))


def variable(
    draws: np.ndarray,
    truth: dict[str, Any] | None,
    site: str,
    index: tuple[int, ...],
    independent: bool,
    errors: tuple[float, float] = (0.0, 0.0),
) -> dict[str, float | None]:
    """Moments and quantiles of one element, and their distance to the truth, whose own errors are ``errors``."""
    mean, sd = digits(draws.mean(), 12), digits(draws.std(ddof=1), 12)
    lower, median, upper = (digits(value, 12) for value in np.quantile(draws, [0.025, 0.5, 0.975]))
    # The delta method: sd is a smooth function of the mean of squared deviations.
    spread = standard_error((draws - mean) ** 2, independent) / (2 * sd) if sd > 0 else 0.0
    error = standard_error(draws, independent)
    return {
        "mean": mean,
        "sd": sd,
        "q2.5": lower,
        "median": median,
        "q97.5": upper,
        "mcse_mean": digits(error, 6),
        "mcse_sd": digits(spread, 6),
        **distance(mean, sd, (error, spread), truth, site, index, errors),
    }


def distance(
    mean: float,
    sd: float,
    own: tuple[float, float],
    truth: dict[str, Any] | None,
    site: str,
    index: tuple[int, ...],
    errors: tuple[float, float],
) -> dict[str, float | None]:
    """How far a mean and an sd with errors ``own`` are from the truth's, with errors ``errors``, in its sds."""
    if truth is None:
        return dict.fromkeys(("mean_error", "sd_ratio", "mcse_mean_error", "mcse_sd_ratio"))
    true_mean, true_sd = float(truth["mean"][site][index]), float(truth["sd"][site][index])
    ratio = sd / true_sd
    return {
        "mean_error": (mean - true_mean) / true_sd,
        "sd_ratio": ratio,
        "mcse_mean_error": digits(np.hypot(own[0], errors[0]) / true_sd, 6),
        "mcse_sd_ratio": digits(np.hypot(own[1], ratio * errors[1]) / true_sd, 6),
    }


def correlations(fit: Fit, exact: Truth | None, independent: bool) -> dict[str, dict[str, float]]:
    """The correlations that the truth names, each with its error and the truth."""
    names = {element(site, index): (site, index) for site, index in fit.job.data.reported()}
    found = {}
    for pair, truth in exact.correlations().items() if exact else ():
        first, second = split_pair(pair, names)
        if fit.job.method == "exact":
            found[pair] = {"value": truth, "mcse": 0.0, "truth": truth}
            continue
        a, b = (values(fit.tree, *names[name]) for name in (first, second))
        a, b = ((draws - draws.mean()) / draws.std() for draws in (a, b))
        value = digits((a * b).mean(), 10)
        # The influence function of a correlation: a b - r (a^2 + b^2) / 2.
        mcse = standard_error(a * b - value * (a**2 + b**2) / 2, independent)
        found[pair] = {"value": value, "mcse": digits(mcse, 6), "truth": truth}
    return found


def split_pair(pair: str, names: dict[str, Any]) -> tuple[str, str]:
    """``z[0],z[1]`` into its two elements; an index may hold a comma of its own."""
    for cut in (position for position, letter in enumerate(pair) if letter == ","):
        if pair[:cut] in names and pair[cut + 1 :] in names:
            return pair[:cut], pair[cut + 1 :]
    raise KeyError(f"the correlation {pair!r} names elements that are not reported")


def diagnostics(fit: Fit, reported: list[tuple[str, tuple[int, ...]]]) -> dict[str, float | int | None]:
    """Worst R-hat and ESS, divergences and E-BFMI of a Markov chain; Pareto k-hat of a guide; null elsewhere."""
    found: dict[str, float | int | None] = dict.fromkeys(DIAGNOSTICS)
    stats = fit.tree["sample_stats"]
    if fit.job.method in CHAINS:
        draws = [values(fit.tree, site, index) for site, index in reported]
        axes = {"chain_axis": 0, "draw_axis": 1}
        found["r_hat"] = digits(max(float(arviz_stats.rhat(one, **axes)) for one in draws), 8)
        found["ess_bulk"] = digits(min(float(arviz_stats.ess(one, method="bulk", **axes)) for one in draws), 8)
        tails = [float(arviz_stats.ess(one, method="tail", prob=(0.05, 0.95), **axes)) for one in draws]
        found["ess_tail"] = digits(min(tails), 8)
        found["divergences"] = int(stats["diverging"].sum())
        found["e_bfmi"] = digits(np.min(arviz_stats.bfmi(stats["energy"].values)), 8)
    elif fit.job.method != "exact":
        ratio = stats["log_joint"] - stats["log_guide"]
        if float(ratio.std()) > 1e-9:  # with equal weights there is no tail to fit
            found["khat"] = digits(smoothed(ratio.values.ravel())[1], 6)
    return found


def smoothed(ratio: np.ndarray) -> tuple[np.ndarray, float]:
    """The weights of draws with log p(x, z) - log q(z), shape (count,): Pareto-smoothed, their sum 1; and k-hat."""
    with warnings.catch_warnings():  # a k-hat above 0.7 is reported, not warned of
        warnings.simplefilter("ignore")
        # ArviZ takes log likelihoods, whose negatives are the log weights of leave-one-out.
        log_weights, khat = array_stats.psislw(-ratio)
    weights = np.exp(log_weights - np.max(log_weights))
    return weights / weights.sum(), float(khat)


def optimisation(fit: Fit) -> dict[str, Any] | None:
    """What the optimiser itself says of where it ended."""
    if "optimisation" not in fit.tree:
        return None
    said = fit.tree["optimisation"].attrs
    gap = float(said["gap"])
    return {
        "gap": {"value": digits(gap, 6), "mcse": digits(said["gap_mcse"], 6)} if np.isfinite(gap) else None,
        "tolerance": float(said["tolerance"]),
        "converged": bool(said["converged"]),
        "steps": int(said.get("sweeps", said.get("epochs", fit.tree["optimisation"].sizes["step"] - 1))),
        "reason": str(said["reason"]) or None,
    }


def ledger(fit: Fit, exact: Truth | None, best: Best | None) -> dict[str, Number | None]:
    """The ledger in nats. Both its equations hold to rounding: complexity and optimisation gap close them."""
    entries: dict[str, Number | None] = dict.fromkeys(LEDGER)
    if fit.job.method in CHAINS:
        return entries
    stats = fit.tree["sample_stats"]
    log_joint, log_prior = (stats[name].values for name in ("log_joint", "log_prior"))

    def number(value: float, mcse: float = 0.0) -> Number:
        return {"value": float(value), "mcse": digits(mcse, 6)}

    fit_to_data = log_joint - log_prior
    data_fit = number(digits(fit_to_data.mean(), 12), standard_error(fit_to_data, True))
    if fit.job.method == "exact":
        elbo = number(exact.log_evidence)
    else:  # known better than from these draws: closed form, or draws designed for it
        said = fit.tree["optimisation"].attrs
        elbo = number(digits(said["elbo"], 12) if said["elbo_mcse"] else said["elbo"], said["elbo_mcse"])
    # The ELBO is far better known than the two terms it is the difference of, whose errors are nearly the same.
    complexity = number(data_fit["value"] - elbo["value"], np.hypot(data_fit["mcse"], elbo["mcse"]))
    entries |= {"elbo": elbo, "data_fit": data_fit, "complexity": complexity}
    if exact is None or exact.log_evidence is None:
        return entries
    entries["evidence_gap"] = number(exact.log_evidence - elbo["value"], elbo["mcse"])
    if fit.job.method == "exact":
        return entries | {"family_gap": number(0), "optimisation_gap": number(0)}
    if "best_elbo" in (said := fit.tree["optimisation"].attrs):  # without the encoder
        highest, error = float(said["best_elbo"]), float(said["best_elbo_mcse"])
        entries["family_gap"] = number(exact.log_evidence - highest, error)
        entries["amortisation_gap"] = number(highest - elbo["value"], np.hypot(error, elbo["mcse"]))
    elif best is not None:
        entries["family_gap"] = number(exact.log_evidence - best.elbo)
        entries["optimisation_gap"] = number(best.elbo - elbo["value"], elbo["mcse"])
    return entries
