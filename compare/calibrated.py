"""Calibration from Python: ``calibrate(model, data)`` for a model of one's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from compare import calibration, user_model
from compare.calibration import Calibration
from compare.comparison import Request
from compare.execute.progress import show_progress
from compare.options import Options
from compare.summary import Verdict
from compare.user_model import guides as user_guides
from compare.user_model.process import undisturbed
from models.contract import Exact

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class CalibrationResult:
    """What a calibration gives. It prints as the command does."""

    calibration: Calibration

    @property
    def summary(self) -> dict[str, Any]:
        """All numbers, as in ``calibration.json``."""
        return self.calibration.summary

    @property
    def verdict(self) -> dict[str, Verdict]:
        """The verdict on each fit."""
        return {name: Verdict(**fit["verdict"]) for name, fit in self.summary["fits"].items()}

    @property
    def tree(self) -> xr.DataTree:
        """The ranks between 0 and 1, a fit a branch with ArviZ's group ``prior_sbc``, one draw a data set:
        ``arviz_plots.plot_ecdf_pit(result.tree["numpyro-mean_field"])``."""
        return xr.DataTree(children=self.calibration.trees)

    def plot_ranks(self) -> Figure:
        """ECDFs of the ranks less the uniform one, all fits in each panel.

        Raises:
            ValueError: no fit was made.
        """
        return self._drawn(as_coverage=False)

    def plot_coverage(self) -> Figure:
        """Coverage of central intervals less the nominal one, as `plot_ranks`."""
        return self._drawn(as_coverage=True)

    def write(self, folder: Path | str) -> list[Path]:
        """Write what the command writes: the summary, the ranks, the plots and the page."""
        from compare.calibration.report import write

        request = self.calibration.request
        with undisturbed(*request.libraries):
            return write(self.calibration, Path(folder), request.command or "")

    def _drawn(self, as_coverage: bool) -> Figure:
        from compare.calibration.pictures import figure_of
        from compare.report.plots.panels import for_caller

        if not self.calibration.ranks:
            raise ValueError("no fit was made on any data set: there are no ranks to draw")
        with undisturbed(*self.calibration.request.libraries):
            return for_caller(figure_of, self.calibration, as_coverage)

    def __str__(self) -> str:
        from compare.calibration.report import show
        from compare.report.console import console_for

        text = io.StringIO()
        show(self.calibration, console_for(text))
        return text.getvalue()


def calibrate(
    model: Callable[..., Any],
    data: Any = None,
    count: int = 1000,
    library: str | None = None,
    guides: Sequence[Any] = user_model.GUIDES,
    nuts: bool = False,
    seed: int = 0,
    exact: Callable[..., Exact] | None = None,
    **options: Any,
) -> CalibrationResult:
    """Simulation-based calibration of a model of your own: are its fits right on average over data that it generates?

    Latents are drawn from the prior and a data set from each, in the shapes and with the constants of ``data``. Every
    fit is made on every data set, and the true values are ranked among its draws (Talts et al. 2018, Validating
    Bayesian inference algorithms with simulation-based calibration).

    Args:
        model: A NumPyro or Pyro model whose priors are proper.
        data: As for `compare.result.compare`; what is observed must be an argument (``obs=y``).
        count: Data sets, at least 50.
        library: ``numpyro`` or ``pyro``; by default the one that the model uses.
        guides: Names of families, and guides of your own, which are fitted to each data set.
        nuts: Whether to run NUTS, side by side on all data sets.
        seed: Seed of all randomness.
        exact: A function of the data that returns the posterior, if you know it.
        **options: Those of `compare.options.Options`.

    Raises:
        ValueError: the model cannot be simulated (an improper prior, a factor, a scaled density), its observations are
            no argument or are used elsewhere too, or too few data sets: one line says which.

    Examples:
        >>> import numpyro
        >>> import numpyro.distributions as dist
        >>> def model(y):
        ...     mean = numpyro.sample("mean", dist.Normal(0, 1))
        ...     numpyro.sample("y", dist.Normal(mean, 1), obs=y)
        >>> result = calibrate(model, {"y": 1.0}, 50, guides=["full_rank"])
        >>> result.verdict["numpyro-full_rank"].word, result.summary["quantities"]
        ('agrees', ['mean', 'log likelihood'])
    """
    settings = Options.given(options)
    if isinstance(count, bool) or not isinstance(count, int | np.integer):
        raise ValueError(f"count is {count!r}: give the number of data sets, such as 1000")
    own = user_model.register(model, library, exact)
    names = user_guides.names_of(own.name, guides)
    with show_progress() as progress, undisturbed(own.library):
        progress(f"reading {own.name}")
        given = user_model.check_guides(own, user_model.data_of(own, data), names)
        command = f"calibrate({own.name}, data, {count})"
        request = Request(own.model, given, (own.library,), names, nuts, settings, seed, command)
        return CalibrationResult(calibration.calibrate(request, int(count), progress=progress))
