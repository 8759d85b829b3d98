"""What each fit cost, and the verdict on each guide if its posterior were not known."""

import numpy as np

from compare.comparison import Comparison, Fit
from compare.report.tables.estimates import word
from compare.report.tables.ledger import FIT
from compare.report.tables.numbers import ABSENT, counted, estimate, khat, plain, printable
from compare.report.tables.table import Column, Row, Table
from compare.summary import Optimisation

COST = (
    FIT,
    Column("gradients", "gradients", "", "Gradient evaluations of the log joint; a particle or leapfrog step is one."),
    Column("steps", "steps", "", "Steps of the optimiser, sweeps of coordinate ascent, or epochs of training."),
    Column(
        "converged",
        "converged",
        "",
        "Whether the estimated gap plus two of its errors is within the tolerance, {tolerance:g} nats; for coordinate "
        "ascent, whether every change became small.",
    ),
    Column("gap", "estimated gap", "", "The optimisation gap in nats as the fit estimates it, without the optimum."),
    Column("tail", "tail ESS", "", "Effective sample size for the 5% and 95% quantiles."),
    Column("divergences", "divergences", "", "NUTS trajectories that left the energy surface: regions may be missed."),
    Column("bfmi", "E-BFMI", "", "How well NUTS explored the energies; below 0.3 the chains move too slowly."),
    Column("step_size", "step size", "", "The smallest and the largest of the chains' step sizes after adaptation."),
    Column(
        "acceptance",
        "acceptance",
        "",
        "NUTS's mean acceptance probability after adaptation; target {acceptance:g}, a reference's its own.",
    ),
)

UNAIDED = (
    FIT,
    Column("without", "without the truth", "", "The verdict that rests on the guide's own draws and on NUTS.", True),
    Column("verdict", "with it", "", "The verdict that knows the posterior.", True),
    Column("by", "by", "", "What the first verdict rests on.", True),
    Column("error", "error (sd)", "", "Estimated: mean minus true mean, in sds, where it is furthest off."),
    Column("ratio", "sd ratio", "", "Estimated: sd over the true one, where it is furthest from 1."),
    Column("evidence", "evidence by its draws", "", "Log evidence by importance sampling, in nats; at least the ELBO."),
    Column("khat", "k-hat", "", "Pareto k of the importance weights; up to 0.7 they can be trusted."),
    Column(
        "relative", "relative ESS", "", "Effective sample size of the weights over the draws; near 1 k-hat is noise."
    ),
)


def cost(comparison: Comparison) -> Table:
    """A row a fit with its cost, how its optimiser ended, and how its chains fared."""
    rows = []
    for name, summary in comparison.summaries.items():
        diagnostics, optimisation = summary.diagnostics, summary.optimisation
        step_size, acceptance = adaptation(comparison.fits[name])
        cells = {
            "fit": printable(name),
            "gradients": counted(summary.gradients),
            "steps": counted(optimisation.steps if optimisation else None),
            "converged": ended(optimisation),
            "gap": estimate(optimisation.gap if optimisation else None),
            "tail": counted(diagnostics.ess_tail),
            "divergences": counted(diagnostics.divergences),
            "bfmi": plain(diagnostics.e_bfmi, 2),
            "step_size": step_size,
            "acceptance": acceptance,
        }
        rows.append(Row(name, "", cells))
    options = comparison.request.options
    targets = {"tolerance": options.tolerance, "acceptance": options.acceptance}
    columns = (Column(c.key, c.header, c.group, c.meaning.format(**targets), c.is_text) for c in COST)
    return Table("What it took", tuple(columns), rows)


def ended(optimisation: Optimisation | None) -> str:
    """Whether an optimiser arrived, or why it did not."""
    if optimisation is None:
        return ABSENT
    return "yes" if optimisation.converged else f"no: {printable(optimisation.reason)}" if optimisation.reason else "no"


def adaptation(fit: Fit) -> tuple[str, str]:
    """The chains' step sizes after warm-up, and their mean acceptance probability."""
    if fit.tree is None or "step_size" not in fit.tree["sample_stats"].dataset:
        return ABSENT, ABSENT
    stats = fit.tree["sample_stats"].dataset
    last = np.asarray(stats["step_size"])[:, -1]
    return f"{last.min():.2g} to {last.max():.2g}", plain(float(stats["acceptance_rate"].mean()), 2)


def unaided(comparison: Comparison) -> Table | None:
    """The verdict on each guide if its posterior were not known; None where no guide was fitted."""
    rows = []
    for fit, summary in comparison.summaries.items():
        without = summary.without_truth
        if without is None:
            continue
        cells = {
            "fit": printable(fit),
            "without": without.word,
            "verdict": word(summary),
            "by": without.by or ABSENT,
            "error": estimate(without.mean_error, sign=True),
            "ratio": estimate(without.sd_ratio),
            "evidence": estimate(without.evidence),
            "khat": khat(without.khat),
            "relative": plain(summary.diagnostics.relative_ess, 3),
        }
        rows.append(Row(fit, word(summary), cells))
    lead = (
        "What can be said of each guide from its own draws, reweighted by p(x, z) / q(z), and from NUTS where their "
        "weights cannot be trusted: all there is for a model of your own. Beside it the verdict that knows the truth."
    )
    return Table("If the truth were not known", UNAIDED, rows, lead) if rows else None
