"""A comparison from Python: ``compare(model, data)`` for a model of one's own."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import xarray as xr

from compare import pipeline, report, user_model
from compare.comparison import Comparison, Request
from compare.options import Options
from compare.report.tables.elements import finished
from compare.report.tables.estimates import fits
from compare.summary import Verdict
from compare.user_model.process import undisturbed
from models.contract import Exact, UnknownName, nearest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Result", "compare"]


@dataclass(frozen=True)
class Result:
    """What a comparison gives. It prints as the command does; in a notebook it shows its table."""

    comparison: Comparison

    @property
    def summary(self) -> dict[str, Any]:
        """All numbers, as in ``summary.json``."""
        return self.comparison.summary

    @property
    def table(self) -> pd.DataFrame:
        """The command's table, a row a fit: every number as it is printed, with its error."""
        return fits(self.comparison).frame()

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

    def write(self, folder: Path | str) -> list[Path]:
        """Write what the command writes: the summary, the draws, the plots and the page, last."""
        with undisturbed(*self.comparison.request.libraries):
            return report.write(self.comparison, folder)[1]

    def _drawn(self, draw: Callable[[Comparison], Figure]) -> Figure:
        """A figure that is shown where its caller shows it, and no second time by pyplot."""
        from matplotlib import pyplot

        from models.plotting import style

        with undisturbed(*self.comparison.request.libraries), style():
            figure = draw(self.comparison)
            pyplot.close(figure)
        return figure

    def __str__(self) -> str:
        text = io.StringIO()
        report.show(self.comparison, file=text)
        return text.getvalue()

    def _repr_html_(self) -> str:
        return self.table.to_html()


def compare(
    model: Callable[..., Any],
    data: Any = None,
    library: str | None = None,
    guides: Sequence[str] = user_model.GUIDES,
    nuts: bool = True,
    seed: int = 0,
    exact: Exact | Callable[..., Exact] | None = None,
    **options: Any,
) -> Result:
    """Fit a model of your own in every way and measure each fit against the truth.

    All is done in this process, in float64, and leaves it as it was: param store, precision, random states, settings.

    Args:
        model: A NumPyro or Pyro model.
        data: A dict of its arguments, a frame of them (pandas, polars, xarray), or the tuple of its positional ones;
            nothing where the model holds its data itself. Arrays, columns and floats are data; ints, flags and words
            shape the program.
        library: ``numpyro`` or ``pyro``; by default the one that the model uses.
        guides: The families of guides.
        nuts: Whether to run NUTS.
        seed: What everything random follows from.
        exact: The posterior if you know it: a `models.contract.Exact`, or a function of the data that returns one.
            Without it the posterior is found by quadrature in up to three unconstrained dimensions; beyond, or where
            that is refused, a long NUTS run on the model is the reference.
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
    known = [field.name for field in dataclasses.fields(Options)]
    for name in options:
        if name not in known:
            raise UnknownName(f"no option {name!r}; {nearest(name, known)}")
    if isinstance(guides, str):
        raise ValueError(f"guides is {guides!r}: give a list, such as [{guides!r}]")
    own = user_model.register(model, library, exact)
    with undisturbed(own.library):
        given = user_model.data_of(own, data)
        command = f"compare({own.name}, data)"
        request = Request(own.model, given, (own.library,), tuple(guides), nuts, Options(**options), seed, command)
        return Result(pipeline.compare(request))
