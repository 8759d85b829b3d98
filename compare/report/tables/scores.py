"""The tables of held-out data: predictions, and what a whole test set says of guides and networks."""

from compare.comparison import Comparison
from compare.held_out import HeldOutEvidence, HeldOutLedger, NetworkSummary
from compare.report.tables.estimates import by_element, correlations
from compare.report.tables.ledger import FIT, TERMS, ledgers
from compare.report.tables.numbers import ABSENT, counted, printable, score, seconds
from compare.report.tables.table import Column, Row, Table


def scored(key: str, header: str, meaning: str) -> Column:
    return Column(key, header, "scores", meaning)


SCORES = (
    scored(
        "log_density",
        "log density",
        "Mean log predictive density of the held-out points, in nats a point (for images, of all pixels in question "
        "jointly). Higher is better.",
    ),
    scored("rmse", "RMSE", "Root mean square error of the predictive mean, in units of the target as it was fitted."),
    scored("coverage_50", "in 50%", "Share of held-out points inside the central 50% predictive interval."),
    scored("coverage_95", "in 95%", "Share of held-out points inside the central 95% predictive interval."),
    scored("accuracy", "accuracy", "Share of held-out points whose more probable class is theirs."),
    scored(
        "calibration_error",
        "calibration error",
        "Mean distance between predicted probability and observed share, in ten bins; above 0 even for perfect "
        "probabilities where bins hold few points.",
    ),
    scored("log_evidence", "log evidence", "Mean exact log p(x) of the images, in nats an image."),
    scored("lit", "lit pixels", "Share of the pixels that are lit."),
    scored("distance", "to nearest", "Pixels in which an image differs from the nearest training image, on average."),
    scored("log_prior", "log prior", "Mean log density of the points under the prior, in nats."),
    scored(
        "log_aggregate",
        "log aggregate",
        "Mean log density of the points under the average of the test images' exact posteriors, in nats.",
    ),
    scored(
        "bits",
        "bits a pixel",
        "What a code of the test images needs: -log2 p(x) by the exact evidence, -ELBO / log 2 by bits back with a "
        "guide, the file of a compressor. Lower is better.",
    ),
    scored(
        "bits_best",
        "best member",
        "Bits a pixel by bits back with the best member of the guide's family for each image, without an encoder.",
    ),
)

NETWORKS = (
    Column("fit", "learnt with", "", "The library, and the family of the encoder's guide.", True),
    Column("evidence", "log evidence", "networks", "Mean log p(x) of a test observation. Higher is better."),
    Column("bits", "bits", "networks", "The same in bits for each element (pixel) of an observation."),
    Column("elbo", "ELBO", "networks", "Mean ELBO of the encoder that the network was trained with."),
    Column("epochs", "epochs", "networks", "Passes over the training set."),
    Column("speed", "per second", "networks", "Observations a second in training, without validation."),
    Column("seconds", "seconds", "networks", "Wall-clock time, compilation included."),
)

ERRORS = "After ± the Monte Carlo error, in brackets the standard error from the number of"


def details(comparison: Comparison) -> list[Table]:
    """The tables between that of the fits and those of costs."""
    accounts = ledgers(comparison)
    tables = (
        by_element(comparison),
        correlations(comparison),
        predictions(comparison),
        accounts.transposed("nats") if accounts else None,
        guides(comparison),
        networks(comparison),
    )
    return [table for table in tables if table]


def predictions(comparison: Comparison) -> Table | None:
    """A row a fit and a baseline with its scores on held-out data; None where nothing is held out."""
    scores = {name: summary.predictions for name, summary in comparison.summaries.items() if summary.predictions}
    suffix = " (baseline)" if scores else ""  # without fits there is nothing to be a baseline of
    scores |= {f"{name}{suffix}": known for name, known in comparison.baselines.items() if known}
    rows = [
        Row(name, "", {"fit": printable(name), **{column.key: score(known.get(column.key)) for column in SCORES}})
        for name, known in scores.items()
    ]
    table = Table("Held-out predictions", (FIT, *SCORES), rows, remarks=(f"{ERRORS} points held out.",))
    return table.without_empty_columns() if rows else None


def guides(comparison: Comparison) -> Table | None:
    """A row a guide with its ledger, the mean over the test observations; None where there is none."""
    held_out = comparison.held_out
    if not held_out or not held_out.guides:
        return None
    terms = [term for term in TERMS if term.key in HeldOutLedger.__dataclass_fields__]
    rows = [
        Row(name, "", {"fit": name, **{term.key: score(getattr(ledger, term.key)) for term in terms}})
        for name, ledger in held_out.guides.items()
    ]
    remarks = [f"Means over {held_out.observations} test observations, in nats each. {ERRORS} observations."]
    if any(ledger.evidence_gap for ledger in held_out.guides.values()):
        remarks.append("log evidence - ELBO = evidence gap = family gap + amortisation gap.")
    remarks.append("The amortisation gap includes what the training of the encoder left.")
    title = "The test set: what each guide costs"
    return Table(title, (FIT, *terms), rows, remarks=tuple(remarks)).without_empty_columns()


def networks(comparison: Comparison) -> Table | None:
    """A row a trained network, and one a simpler model, by held-out log evidence, the best first."""
    held_out = comparison.held_out
    if not held_out:
        return None
    entries = dict(held_out.networks)
    for name, evidence in held_out.baselines.items():
        entries[f"{name} (baseline)"] = NetworkSummary("done", evidence=evidence)
    best_first = sorted(entries.items(), key=lambda item: -item[1].evidence.value if item[1].evidence else float("inf"))
    rows = [Row(name, "", network_cells(name, network)) for name, network in best_first]
    method = f" Evidence by {held_out.method}." if held_out.method else ""
    remarks = [
        f"Means over {held_out.observations} test observations, in nats each; in brackets the standard error from "
        f"their number. All models are scored on the same observations, so differences are better known.{method}"
    ]
    remarks += [f"{name}: {network.reason}." for name, network in held_out.networks.items() if network.reason]
    table = Table("The networks by held-out evidence", NETWORKS, rows, remarks=tuple(remarks))
    return table.without_empty_columns()


def network_cells(name: str, network: NetworkSummary) -> dict[str, str]:
    unfinished = " (not enough)" if network.converged is False else ""
    return {
        "fit": name,
        "evidence": score(network.evidence),
        "bits": bits(network.evidence),
        "elbo": score(network.elbo),
        "epochs": counted(network.epochs) + unfinished,
        "speed": counted(network.speed),
        "seconds": seconds(network.seconds),
    }


def bits(evidence: HeldOutEvidence | None) -> str:
    """The evidence in bits, with its standard error from the number of observations in brackets."""
    return f"{evidence.bits:.4f} ({evidence.bits_sampling:.1g})" if evidence else ABSENT
