"""A comparison from Python: ``compare(model, data)`` for a model of one's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from compare import pipeline, report, user_model
from compare.best import BestDraws, best_draws
from compare.calibrated import CalibrationResult, calibrate
from compare.comparison import Comparison, Request
from compare.execute.progress import show_progress
from compare.fitted import FittedGuide, fit_guide, fitted
from compare.options import Options
from compare.report.tables.claims import evidence
from compare.report.tables.elements import finished
from compare.report.tables.estimates import fits
from compare.report.tables.tidy import tidy
from compare.summary import Verdict
from compare.user_model import draws as user_draws
from compare.user_model import given_params
from compare.user_model import guides as user_guides
from compare.user_model.process import undisturbed
from models.contract import Exact

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CalibrationResult", "Result", "calibrate", "check", "compare", "fit_guide"]


@dataclass(frozen=True)
class Result:
    """What a comparison gives. It prints as the command does; in a notebook it shows the verdicts and the table."""

    comparison: Comparison

    @property
    def summary(self) -> dict[str, Any]:
        """All numbers, as in ``summary.json``."""
        return self.comparison.summary

    @property
    def table(self) -> pd.DataFrame:
        """Numbers, one row a fit and quantity, each error in a column of its own; see `compare.report.tables.tidy`."""
        return tidy(self.comparison)

    @property
    def best(self) -> BestDraws:
        """The draws to use, and why: exact, the reference's, or a guide's, reweighted where its weights allow that."""
        return best_draws(self.comparison)

    @property
    def fits(self) -> dict[str, FittedGuide]:
        """The guides by the fit's name, at the best member found: ``.params`` and ``.guide``, in the library's own
        form, to go on with."""
        guides = {name: fitted(fit) for name, fit in self.comparison.fits.items()}
        return {name: guide for name, guide in guides.items() if guide is not None}

    @property
    def tree(self) -> xr.DataTree:
        """The draws: one ArviZ tree a fit, such as ``tree["numpyro-nuts/posterior"]``."""
        return xr.DataTree(children=finished(self.comparison))

    @property
    def verdict(self) -> dict[str, Verdict]:
        """The verdict on each fit."""
        return {name: fit.verdict for name, fit in self.comparison.summaries.items()}

    def plot_posterior(self) -> Figure:
        """The fits' densities over the truth's, an element a row, drawn by ArviZ."""
        from compare.report.plots.posteriors import densities

        return self._drawn(densities)

    def plot_ledger(self) -> Figure:
        """What each guide's approximation costs in nats, by cause.

        Raises:
            ValueError: no guide was fitted.
        """
        from compare.report.plots.ledger import costs

        return self._drawn(costs)

    def write(self, folder: Path | str) -> list[Path]:
        """Write what the command writes: the summary, the draws, the plots and the page, last."""
        with undisturbed(*self.comparison.request.libraries):
            return report.write(self.comparison, folder)[1]

    def _drawn(self, draw: Callable[[Comparison], Figure]) -> Figure:
        from compare.report.plots.panels import for_caller

        with undisturbed(*self.comparison.request.libraries):
            return for_caller(draw, self.comparison)

    def __str__(self) -> str:
        text = io.StringIO()
        report.show(self.comparison, file=text)
        return text.getvalue()

    def _repr_html_(self) -> str:
        best, (value, method) = self.best, evidence(self.comparison)
        draws = f"{best.fit}: {best.why}" if best.fit else best.why
        lines = {"log evidence": f"{value} nats, {method}" if value else method, "draws to use": draws}
        paragraphs = [f"<p><b>{name}</b>: {escape(line)}</p>" for name, line in lines.items()]
        words = {name: {"verdict": verdict.word, "why": verdict.sentence} for name, verdict in self.verdict.items()}
        with pd.option_context("display.max_colwidth", None):
            tables = [pd.DataFrame(words).T.to_html(), fits(self.comparison).frame().to_html()]
        return "\n".join([*paragraphs, *tables])


def compare(
    model: Callable[..., Any],
    data: Any = None,
    library: str | None = None,
    guides: Sequence[Any] = user_model.GUIDES,
    nuts: bool = True,
    seed: int = 0,
    exact: Exact | Callable[..., Exact] | None = None,
    quick: bool = False,
    **options: Any,
) -> Result:
    """Fit a model of your own in every way and measure each fit against the truth.

    All is done in this process, in float64, and leaves it as it was: param store, precision, random states, settings.

    Args:
        model: A NumPyro or Pyro model.
        data: A dict of its arguments, a frame of them (pandas, polars, xarray), the tuple of its positional ones, or,
            of a model with one argument, that itself; nothing where the model holds its data itself. Arrays, columns
            and floats are data; ints, flags and words shape the program.
        library: ``numpyro`` or ``pyro``; by default the one that the model uses.
        guides: Names of families, and guides of your own: functions of the model's arguments, autoguides, or their
            classes.
        nuts: Whether to run NUTS.
        seed: What everything random follows from.
        exact: The posterior if you know it: a `models.contract.Exact`, or a function of the data that returns one.
            Without it the posterior is found by quadrature in up to three unconstrained dimensions and estimated by
            importance sampling in up to 20; where both are refused, a long NUTS run on the model is the reference.
        quick: Whether NUTS is left out altogether: where it would be the reference there is none.
        **options: Those of `compare.options.Options`.

    Raises:
        ValueError: an argument, a site or a prior that cannot be handled: one line says which, why, and what to do.

    Examples:
        >>> import numpyro
        >>> import numpyro.distributions as dist
        >>> def model(y):
        ...     mean = numpyro.sample("mean", dist.Normal(0, 1))
        ...     numpyro.sample("y", dist.Normal(mean, 1), obs=y)
        >>> result = compare(model, {"y": 1.0}, guides=["full_rank"], nuts=False)
        >>> {fit: verdict.word for fit, verdict in result.verdict.items()}
        {'exact': 'exact', 'numpyro-full_rank': 'agrees'}
    """
    settings = Options.given(options)
    own = user_model.register(model, library, exact)
    names = user_guides.names_of(own.name, guides)
    with show_progress() as progress, undisturbed(own.library):
        progress(f"reading {own.name}")
        given = user_model.check_guides(own, user_model.data_of(own, data), names)
        command = f"compare({own.name}, data)"
        request = Request(own.model, given, (own.library,), names, nuts, settings, seed, command, quick=quick)
        return Result(pipeline.compare(request, progress=progress))


def check(
    model: Callable[..., Any],
    data: Any,
    *,
    draws: Any = None,
    guide: Any = None,
    params: Any = None,
    svi: Any = None,
    mcmc: Any = None,
    library: str | None = None,
    nuts: bool = False,
    seed: int = 0,
    exact: Exact | Callable[..., Exact] | None = None,
    quick: bool = False,
    **options: Any,
) -> Result:
    """Judge a fit that you have made, as it is: draws from any sampler, or a guide with the params that you found.

    Draws are judged as Markov chains (R-hat, effective sample size) and against the exact posterior or a reference. Of
    a guide the result says how far it is from the optimum of its family (a copy goes on to it, and the two ELBOs are
    compared on common draws), how far the family is from the posterior, and which quantities are wrong.

    Args:
        model, data, library, nuts, seed, exact, quick, **options: As for `compare`.
        draws: Arrays by site, each of shape (n_chains, n_draws, *site), or (n_draws, *site) for one chain, which is cut
            into four; an MCMC object of either library; an InferenceData or DataTree, or a file of one (NetCDF) or of
            arrays (``.npz``). Sites that the model derives need not be there.
        guide: A function or an autoguide.
        params: Its params by name, constrained, as in ``svi_result.params`` (nested ones as they are, or flat, their
            names joined by dots); the result or, beside ``svi``, the state of a run; an ``.npz`` of arrays, or Pyro's
            saved param store. In Pyro those in the param store by default.
        svi, mcmc: The library's SVI object in the guide's place, its MCMC object in that of ``draws``.

    Raises:
        ValueError: there is nothing to check, or sites, params or numbers are not this model's: one line says why.

    Examples:
        >>> import numpy as np
        >>> import numpyro
        >>> import numpyro.distributions as dist
        >>> def model(y):
        ...     mean = numpyro.sample("mean", dist.Normal(0, 1))
        ...     numpyro.sample("y", dist.Normal(mean, 1), obs=y)
        >>> narrow = np.random.default_rng(0).normal(0.5, 0.35, size=(4, 1000))  # the sd is sqrt(1/2)
        >>> check(model, {"y": 1.0}, draws={"mean": narrow}).verdict["draws"].word
        'narrow'
    """
    settings = Options.given(options)
    guide, draws = what_to_check(draws, mcmc, guide, svi, params)
    own = user_model.register(model, library, exact)
    trained = None if guide is None else params_of(params, own.library, svi)
    names = () if guide is None else (user_guides.add(own.name, guide, trained),)
    with show_progress() as progress, undisturbed(own.library):
        progress(f"reading {own.name}")
        given = user_model.check_guides(own, user_model.data_of(own, data, trained), names)
        if draws is not None:
            user_draws.add(own.name, draws, given.layout)
            user_draws.refuse_outside(own.name, own.library, given.values)
        command, has_draws = f"check({own.name}, data)", draws is not None
        request = Request(own.model, given, (own.library,), names, nuts, settings, seed, command, has_draws, quick)
        return Result(pipeline.compare(request, progress=progress))


def what_to_check(draws: Any, mcmc: Any, guide: Any, svi: Any, params: Any) -> tuple[Any, Any]:
    """The guide and the draws among the arguments of `check`; None for what is not given.

    Raises:
        ValueError: there is neither, or there are two of a kind, or params without a guide.
    """
    if draws is not None and mcmc is not None:
        raise ValueError("mcmc= holds draws: give it or draws=, not both")
    guide, draws = given_params.guide_in(svi, guide), mcmc if draws is None else draws
    if draws is None and guide is None:
        raise ValueError("there is nothing to check: give draws=, or guide= with its params=")
    if guide is None and params is not None:
        raise ValueError("params= are a guide's: give guide= or svi= with them")
    return guide, draws


def params_of(given: Any, library: str, svi: Any = None) -> Mapping[str, Any]:
    """A guide's params as the user gave them, or those of the param store.

    Raises:
        ValueError: there are none.
    """
    if given is None:
        given = import_module(f"compare.user_model.process_{library}").stored_params()
        if not given:
            where = "the param store is empty: train the guide first, or give params=" if library == "pyro" else ""
            raise ValueError(f"params: {where or 'give those that the guide was trained to, params=svi_result.params'}")
    return given_params.params_in(given, library, svi)
