"""The Gaussian mixture: every published number by two methods, the symmetry gap, and what is refused."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from conftest import LIBRARIES
from scipy import integrate, special, stats
from scipy.special import logsumexp

import models
from compare.cli.main import main
from compare.comparison import Job
from compare.fit import run, traced
from compare.fit.density import log_densities
from compare.measure.measures import measure
from compare.measure.symmetry import shares_gap
from compare.options import Options
from compare.verdict.judge import judge
from models.marginals import BetaMixture
from models.mixture import MODEL, MixtureData, truth
from models.mixture.best import best_member, log_joint
from models.mixture.counts import CountedMixture
from models.mixture.exact import EnumeratedMixture, by_location
from models.mixture.literature import published
from models.mixture.pictures import density

TUTORIAL = MixtureData()
EVIDENCES = {1.0: -479.798, 2.0: -257.337, 4.0: -241.816}
"""Of the galaxies by the known scale."""


def log_marginal(x: np.ndarray, scale: float, mean: float, sd: float) -> float:
    """log p(x) of one component, by the joint normal density of its values."""
    cov = scale**2 * np.eye(len(x)) + sd**2
    return float(stats.multivariate_normal.logpdf(x, np.full(len(x), mean), cov)) if len(x) else 0.0


def given_scale(scale: float) -> dict[tuple[int, ...], float]:
    """log p(values, assignment | scale) of the tutorial, component by component."""
    joint = {}
    for labels in product((0, 1), repeat=5):
        parts = [TUTORIAL.values[np.array(labels) == k] for k in (0, 1)]
        prior = special.betaln(0.5 + len(parts[0]), 0.5 + len(parts[1])) - special.betaln(0.5, 0.5)
        joint[labels] = prior + sum(log_marginal(part, scale, 0.0, 10.0) for part in parts)
    return joint


def test_the_tutorial_by_simpsons_rule():
    """The evidence, the shares of clusters and the mean scale, each value's density in a dense covariance matrix."""
    grid = np.linspace(-3.5, 8.5, 241)
    tables = [given_scale(math.exp(u)) for u in grid]
    joint = np.array([list(table.values()) for table in tables]) + stats.norm.logpdf(grid, 0, 2)[:, None]
    masses = integrate.simpson(np.exp(joint + 17), x=grid, axis=0)
    by_labels = dict(zip(tables[0], masses / masses.sum(), strict=True))
    exact = truth(TUTORIAL)
    known, split = exact.extra_summary(), 2 * by_labels[0, 0, 1, 1, 1]
    evidence = math.log(masses.sum()) - 17
    assert evidence == pytest.approx(exact.log_evidence, abs=1e-6) == pytest.approx(-17.125533, abs=1e-6)
    assert split == pytest.approx(known["likeliest clusters"]["0 1 | 10 11 12"], abs=1e-6)
    assert split == pytest.approx(0.884, abs=5e-4)
    assert 2 * by_labels[0, 0, 0, 0, 0] == pytest.approx(known["components that have values"]["1"], abs=1e-6)
    assert known["components that have values"]["1"] == pytest.approx(0.066, abs=5e-4)
    scale = integrate.simpson(np.exp(joint + 17).sum(axis=1) * np.exp(grid), x=grid) / masses.sum()
    assert scale == pytest.approx(float(exact.mean()["scale"]), abs=1e-4) == pytest.approx(1.8226, abs=1e-4)


def test_a_co_clustering_probability_by_draws():
    """The share of draws' responsibilities agrees with the sum over assignments, within 5 standard errors."""
    exact = truth(TUTORIAL)
    draws = exact.draw(np.random.default_rng(0), 20_000)
    logs = np.log(draws["weights"])[:, None] + stats.norm.logpdf(
        TUTORIAL.values[:, None], draws["locations"][:, None], draws["scale"][:, None, None]
    )
    share = special.softmax(logs, axis=2)
    for i, j in ((0, 1), (1, 2), (2, 4)):
        values = (share[:, i] * share[:, j]).sum(axis=1)
        assert values.mean() == pytest.approx(exact.together[i, j], abs=5 * values.std() / math.sqrt(len(values)))


def counts_and_sums(data: MixtureData) -> float:
    """The log evidence by dynamic programming over one component's count and its sum in whole km/s.

    With a known scale the likelihood of an assignment depends on nothing else.
    """
    x = np.rint(1000 * data.values).astype(int)
    centre = int(np.rint(x.mean()))
    steps, n, scale = x - centre, len(x), float(data.known_scale)
    low, high = int(steps[steps < 0].sum()), int(steps[steps > 0].sum())
    ways = np.zeros((n + 1, high - low + 1))
    ways[0, -low] = 1.0
    for seen, step in enumerate(steps.tolist()):
        for count in range(seen, -1, -1):  # numbers of ways may be as large as 2^82: float64 has 16 of their digits
            here = ways[count]
            begin, end = max(step, 0), len(here) + min(step, 0)
            ways[count + 1, begin:end] += here[begin - step : end - step]
    counts = np.arange(n + 1)[:, None]
    sums = (np.arange(low, high + 1) + counts * centre) / 1000
    logs = special.betaln(1 + counts, 1 + n - counts)
    for count, total in ((counts, sums), (n - counts, data.values.sum() - sums)):
        wide = scale**2 + count * data.location_sd**2
        shift = total - count * data.location_mean
        logs = logs + 0.5 * (math.log(scale**2) - np.log(wide)) + 0.5 * shift**2 * data.location_sd**2 / scale**2 / wide
    squares = ((data.values - data.location_mean) ** 2).sum() / scale**2
    with np.errstate(divide="ignore"):
        total = logsumexp(np.log(ways) + logs)
    return float(total - 0.5 * squares - n * math.log(scale * math.sqrt(2 * math.pi)))


@pytest.mark.parametrize(
    "scale", [2.0, pytest.param(1.0, marks=pytest.mark.slow), pytest.param(4.0, marks=pytest.mark.slow)]
)
def test_the_galaxies_by_counts_and_sums(scale):
    data = MixtureData("galaxies", scale=scale)
    exact = truth(data)
    assert isinstance(exact, CountedMixture)
    assert exact.log_evidence == pytest.approx(counts_and_sums(data), abs=1e-8)
    assert exact.log_evidence == pytest.approx(EVIDENCES[scale], abs=6e-4)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_counts_and_assignments_agree(scale):
    """Ten galaxies: the lattice against the sum over 2^10 assignments, the ordered quantities' quantiles too."""
    data = MixtureData("galaxies", scale=scale)
    data = data.with_derived(values=data.values[4::8][:10])
    enumerated, other = EnumeratedMixture(data), CountedMixture(data)
    assert enumerated.log_evidence == pytest.approx(other.log_evidence, abs=1e-8)
    for site in ("ordered_locations", "ordered_weights"):
        for k in (0, 1):
            a, b = enumerated.marginal(site, (k,)), other.marginal(site, (k,))
            for ours, theirs in (
                (a.mean(), b.mean()),
                (a.std(), b.std()),
                *((a.ppf(q), b.ppf(q)) for q in (0.025, 0.5, 0.9)),
            ):
                assert ours == pytest.approx(theirs, abs=1e-5)
    shares, extra = enumerated.ordered[1][:, :, 0], other.extra_summary()
    assert extra["components that have values"] == pytest.approx(
        enumerated.extra_summary()["components that have values"]
    )
    of_the_lower = float((shares * enumerated.counts).sum() / shares.sum())
    assert extra["mean count of the component with the lower location"] == pytest.approx(of_the_lower, abs=1e-5)


def test_three_components_against_draws_of_the_prior():
    """E[p(values | latents)] over 400,000 draws from the prior, within 4 standard errors."""
    data = MixtureData(components=3, scale=2.0)
    rng = np.random.default_rng(1)
    weights, locations = rng.dirichlet([0.5] * 3, 400_000), 10 * rng.standard_normal((400_000, 3))
    each = np.log(weights)[:, None] + stats.norm.logpdf(data.values[:, None], locations[:, None], 2.0)
    likelihood = np.exp(logsumexp(each, axis=2).sum(axis=1) - truth(data).log_evidence)
    assert likelihood.mean() == pytest.approx(1.0, abs=4 * likelihood.std() / math.sqrt(len(likelihood)))


SIZES = [{}, {"components": 3, "scale": 1.0}, {"data": "galaxies", "components": 3, "scale": "each"}]


@pytest.mark.parametrize("fields", SIZES, ids=["unknown", "known", "each"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_assignments_that_the_library_sums_out_leave_log_joint_and_evidence_alone(library, fields):
    """Enumerated and marginal log joint at ten draws from the prior; less the posterior's density, the evidence."""
    data = MixtureData(**fields)
    latents = MODEL.simulate(data, np.random.default_rng(2), 10).latents
    enumerated = MixtureData(**fields, assignments="kept")
    marginal, joint = (traced(Job("exact", "mixture", given, "exact", library)) for given in (data, enumerated))
    assert not marginal.layout.notes and "'assignments' is discrete" in joint.layout.notes[0]
    assert joint.layout.latents == marginal.layout.latents
    assert joint.layout.observed["values"].tolist() == data.values.tolist()
    ours, theirs = (np.add(*log_densities(job, latents)) for job in (marginal, joint))
    assert theirs == pytest.approx(ours, rel=1e-12, abs=1e-9)
    exact = truth(enumerated)
    if isinstance(exact, EnumeratedMixture):
        assert theirs - exact.log_posterior(latents) == pytest.approx(exact.log_evidence, abs=1e-6)


def test_one_component_is_in_closed_form():
    exact = truth(MixtureData(components=1, scale=1.5))
    assert exact.method == "closed form"
    assert exact.log_evidence == pytest.approx(log_marginal(TUTORIAL.values, 1.5, 0.0, 10.0), abs=1e-10)


@pytest.mark.parametrize(("scale", "beyond"), [(1.0, 0.0816), (2.0, 0.0122), (4.0, 0.1209)])
def test_the_best_factorised_guide_misses_a_name_and_a_little(scale, beyond):
    """Its ELBO by quadrature and by 20,000 draws; the log joint's gradient by differences."""
    data = MixtureData("galaxies", scale=scale)
    best, exact = best_member(data, "mean_field"), truth(data)
    assert exact.log_evidence - best.elbo - math.log(2) == pytest.approx(beyond, abs=6e-5)
    location, sds = best.parameters["location"], best.parameters["scale"]
    eps = np.random.default_rng(0).standard_normal((20_000, 3))
    values, _ = log_joint(data, location + sds * eps)
    ratios = values - stats.norm.logpdf(eps).sum(axis=1) + np.log(sds).sum()
    assert ratios.mean() == pytest.approx(best.elbo, abs=4 * ratios.std() / math.sqrt(len(ratios)))
    for axis, step in enumerate(1e-5 * np.eye(3)):
        above, below = (log_joint(data, (location + sign * step)[None])[0] for sign in (1, -1))
        slope = log_joint(data, location[None])[1][:, axis]
        assert (above - below) / 2e-5 == pytest.approx(slope, abs=1e-4 * (1 + abs(slope[0])))


def test_the_best_of_full_rank_is_better_than_that_of_mean_field():
    data = MixtureData("galaxies", scale=2.0)
    assert best_member(data, "full_rank").elbo > best_member(data, "mean_field").elbo


def test_names_alone_cost_log_factorial():
    """Shares of regions: one region, all alike, and unequal ones; the chain rule's first term."""
    assert shares_gap(np.array([4096]), 6).value == pytest.approx(math.log(6), abs=1e-11)
    assert 0 < shares_gap(np.array([4096]), 6).mcse < 2e-3
    assert shares_gap(np.array([2048, 2048]), 2).value == pytest.approx(0.0, abs=2e-4)
    for n, copies in ((4000, 2), (6000, 3)):  # equal shares: what is left is of the second order, and nothing is unseen
        equal = shares_gap(np.full(copies, n // copies), copies)
        assert equal.mcse == pytest.approx(math.sqrt((copies - 1) / 2) / n, rel=1e-4)
    gap = shares_gap(np.array([900_000, 100_000]), 2)
    assert gap.value == pytest.approx(math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1), abs=1e-5)
    for shares in ([0.9, 0.1], [0.5, 0.3, 0.2], [0.4, 0.4, 0.1, 0.1], [0.97, 0.03]):
        counts = np.random.default_rng(3).multinomial(4000, shares, 2000)
        gaps = np.array([shares_gap(row, len(shares)).value for row in counts])
        right = math.log(len(shares)) + float(np.dot(shares, np.log(shares)))
        assert gaps.mean() == pytest.approx(right, abs=4 * gaps.std() / math.sqrt(2000))
        error = shares_gap(4000 * np.array(shares), len(shares)).mcse
        assert gaps.std() == pytest.approx(error, rel=4 / math.sqrt(2 * 2000))  # that of an sd of as many


def fitted(data: MixtureData, draws: dict[str, np.ndarray] | None = None, guide: str = "mean_field"):
    """A NumPyro guide's summary and verdict; with ``draws`` in the place of its own latents."""
    job = Job(f"numpyro-{guide}", "mixture", data, "svi", "numpyro", guide, 0, Options(budget=300.0))
    fit = run(job)
    assert fit.tree is not None, fit.reason
    if draws:
        posterior = fit.tree["posterior"].dataset
        all_draws = {**draws, **by_location(draws)}
        changed = {
            name: (posterior[name].dims, value.reshape(posterior[name].shape)) for name, value in all_draws.items()
        }
        fit.tree["posterior"] = posterior.assign(changed)
    summary = measure(fit, truth(data), best_member(data, guide))
    return summary, judge(summary, job.options)


@pytest.mark.slow
def test_a_guide_in_one_mode_is_judged_by_what_names_leave_alone():
    """On the galaxies mean field agrees though it has one name only, and its ledger closes; in the smaller of two
    unequal modes the same guide is off."""
    data = MixtureData("galaxies", scale=2.0)
    summary, verdict = fitted(data)
    ledger = summary.ledger
    assert verdict.word == "agrees" and "symmetry gap 0.69, family gap 0.012" in verdict.sentence
    assert ledger.symmetry_gap.value == pytest.approx(math.log(2), abs=4 * ledger.symmetry_gap.mcse)
    parts = ledger.symmetry_gap.value + ledger.family_gap.value + ledger.optimisation_gap.value
    assert parts == pytest.approx(ledger.evidence_gap.value, abs=1e-9)
    count, rng = 4096, np.random.default_rng(0)
    lesser = {
        "locations": np.array([20.0, 33.0]) + 0.3 * rng.standard_normal((count, 2)),
        "weights": np.tile([0.96, 0.04], (count, 1)) + 0.005 * rng.standard_normal((count, 1)) * [1, -1],
    }
    assert fitted(data, lesser)[1].word == "off"


@pytest.mark.parametrize("data", [MixtureData(), MixtureData(scale=2.0)], ids=["unknown", "known"])
def test_the_exact_posterior_is_calibrated(data):
    """Ranks of true quantities among exact draws are uniform over 100 simulated data sets, none of which is lost."""
    rng = np.random.default_rng(5)
    simulated = MODEL.simulate(data, rng, 100)
    true, ranks = {**simulated.latents, **by_location(simulated.latents)}, []
    for number, data_set in enumerate(simulated.data):
        exact = truth(data_set)
        assert isinstance(exact, EnumeratedMixture)
        drawn = exact.draw(rng, 99)
        drawn |= by_location(drawn)
        shown = MODEL.quantities.report(data)
        places = [(drawn[site][:, *index], true[site][number, *index]) for site, index in shown]
        ranks.append([np.mean(values < value) for values, value in places])
    for column in np.array(ranks).T:
        assert stats.kstest(column + rng.random(100) / 100, stats.uniform(0, 1.01).cdf).pvalue > 1e-4


OWN = MixtureData(scale="each", concentration=1.0, variance_rate=4.0)


def subset_evidences(values: np.ndarray, data: MixtureData) -> dict[tuple[int, ...], float]:
    """log p(values of a subset) of one component with a scale of its own, by Simpson's rule over the log variance."""
    logs = np.linspace(-7.0, 12.0, 1201)
    variances = np.exp(logs)
    prior = stats.invgamma.logpdf(variances, data.variance_shape, scale=data.variance_rate) + logs
    known = {}
    for chosen in product((0, 1), repeat=len(values)):
        x = values[np.array(chosen, bool)]
        joint = [log_marginal(x, math.sqrt(v), data.location_mean, data.location_sd) for v in variances] + prior
        known[chosen] = math.log(integrate.simpson(np.exp(joint - joint.max()), x=logs)) + joint.max()
    return known


def own_scales_evidence(data: MixtureData) -> float:
    """The log evidence of two components with a scale each, by the sum over assignments."""
    parts, a, n = subset_evidences(data.values, data), data.concentration, len(data.values)
    terms = []
    for chosen, first in parts.items():
        count = sum(chosen)
        weight = special.betaln(a + count, a + n - count) - special.betaln(a, a)
        terms.append(weight + first + parts[tuple(1 - label for label in chosen)])
    return float(logsumexp(terms))


def test_a_scale_each_by_assignments_and_by_draws_of_the_prior():
    """Both twins' likelihood over 200,000 draws from the prior against the sum over assignments, within 4 errors."""
    rng = np.random.default_rng(2)
    latents = MODEL.simulate(OWN, rng, 200_000).latents
    assert latents["variances"].mean() == pytest.approx(2.0, rel=0.05)  # rate / (shape - 1)
    for library in LIBRARIES:
        job = traced(Job("exact", "mixture", OWN, "exact", twin=library))
        ratios = np.exp(log_densities(job, latents)[1] - own_scales_evidence(OWN))
        assert ratios.mean() == pytest.approx(1.0, abs=4 * ratios.std() / math.sqrt(len(ratios)))
        assert ratios.std() / math.sqrt(len(ratios)) < 0.03


@pytest.mark.slow
def test_a_scale_each_has_a_reference_with_its_evidence():
    """NUTS and the bridge in one of two regions against the sum over assignments, within 4 standard errors."""
    fit = run(Job("reference", "mixture", OWN, "reference", "numpyro", options=Options(reference_budget=300.0)))
    known = fit.tree.attrs
    assert "2 regions" in known["log_evidence_method"]
    assert abs(known["log_evidence"] - own_scales_evidence(OWN)) < 4 * known["log_evidence_mcse"] < 0.1


def test_the_evidence_that_neal_corrected_is_compared_where_data_and_prior_are_chibs():
    chib = MixtureData("galaxies-corrected", scale="each", components=3)
    for value, agrees in ((-226.795, True), (-226.82, False), (-226.591, False), (-228.587, False), (None, None)):
        *_, entry = published(chib, {"log_evidence": {"value": value, "mcse": 0.008}})
        assert "Neal" in entry.source and entry.agrees is agrees
    others = {"data": "galaxies"}, {"components": 4}, {"scale": "unknown"}, {"variance_rate": 2.0}, {"location_sd": 9.0}
    for other in others:
        data = MixtureData(**{"data": "galaxies-corrected", "scale": "each", "components": 3} | other)
        assert not any("Neal" in entry.source for entry in published(data, {}))


def test_scales_follow_their_components():
    """Ordered scales are the sds of the variances in the order of the locations."""
    draws = {"locations": np.array([[3.0, -1.0, 2.0]]), "variances": np.array([[9.0, 4.0, 25.0]])}
    assert by_location(draws)["ordered_scales"].tolist() == [[2.0, 5.0, 3.0]]
    carried = MODEL.symmetry.canonical(OWN, draws)
    assert carried["variances"].tolist() == [[4.0, 25.0, 9.0]]
    grid = np.array([0.5])
    by_hand = sum(w * stats.norm.pdf(0.5, m, s) for w, m, s in ((0.2, 3, 3), (0.3, -1, 2), (0.5, 2, 5)))
    three = MixtureData(scale="each", components=3)
    assert density(three, draws | {"weights": np.array([[0.2, 0.3, 0.5]])}, grid)[0, 0] == pytest.approx(by_hand)


def test_new_names_change_nothing_that_is_judged():
    draws = truth(TUTORIAL).draw(np.random.default_rng(0), 50)
    swapped = {name: value[:, ::-1] if value.ndim == 2 else value for name, value in draws.items()}
    for ours, theirs in zip(
        MODEL.quantities.derive(TUTORIAL, draws).values(),
        MODEL.quantities.derive(TUTORIAL, swapped).values(),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
    assert np.allclose(
        density(TUTORIAL, draws, TUTORIAL.values), density(TUTORIAL, swapped, TUTORIAL.values), rtol=1e-12
    )
    regions = [MODEL.symmetry.region(TUTORIAL, some) for some in (draws, swapped)]
    assert (regions[0] != regions[1]).all()


def test_the_data_are_what_they_say(tmp_path):
    galaxies = MixtureData("galaxies")
    corrected = MixtureData("galaxies-corrected")
    assert np.flatnonzero(corrected.values != galaxies.values).tolist() == [77] and corrected.values[77] == 26.960
    assert len(galaxies.values) == 82 and galaxies.values[77] == 26.690 and galaxies.values.min() == 9.172
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,x\n3,y\n", encoding="utf-8")
    mine = MixtureData(str(path), "a", components=3, scale=1.0)
    assert mine.values.tolist() == [1.0, 3.0] and (mine.location_mean, mine.location_sd) == (2.0, 2.0)
    assert math.isfinite(truth(mine).log_evidence)  # fewer values than components are fine


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "galaxy"], "did you mean 'galaxies'?"),
        (["--components", "0"], "give a whole number from 1 to 12"),
        (["--components", "2.5"], "is not a whole number"),
        (["--scale", "-1"], "give a number from 0.0001"),
        (["--scale", "wide"], "or unknown"),
        (["--scale", "each", "--variance-rate", "0"], "variance_rate is 0.0: give a number from 1e-08"),
        (["--scale", "each", "--variance-shape", "0"], "variance_shape is 0.0: give a number from 0.1"),
        (["--concentration", "0"], "give a number from 0.01"),
        (["--location-sd", "-2"], "give a number from 0.001"),
        (["--column", "x"], "leave --column x out"),
        (["--data", "CSV"], "needs --column: one of a, b"),
        (["--data", "CSV", "--column", "c"], "has no column 'c'"),
        (["--data", "CSV", "--column", "b"], "not a number"),
        (["--data", "CSV", "--column", "a"], "the 3 values are 1 different numbers"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, says, tmp_path, capsys):
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n1,x\n1,y\n1,z\n", encoding="utf-8")
    assert main(["mixture", *(str(path) if word == "CSV" else word for word in arguments)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_equal_values_with_a_known_scale_are_fine():
    data = MixtureData(scale=1.0).with_derived(values=np.full(4, 2.0))
    assert truth(data).log_evidence == pytest.approx(
        logsumexp(
            [
                special.gammaln(5)
                - special.gammaln(k + 1)
                - special.gammaln(5 - k)
                + special.betaln(0.5 + k, 4.5 - k)
                - special.betaln(0.5, 0.5)
                + log_marginal(np.full(k, 2.0), 1.0, 0.0, 10.0)
                + log_marginal(np.full(4 - k, 2.0), 1.0, 0.0, 10.0)
                for k in range(5)
            ]
        ),
        abs=1e-10,
    )
    assert models.load("mixture") is MODEL


def test_quantiles_of_betas_near_zero():
    """Beta(a, 1) has the quantile q^(1 / a), far below the spacing of numbers near 1."""
    a = 0.01
    mixture = BetaMixture(np.full(2, a), np.ones(2), np.array([1.0, 3.0]))
    for q in (0.025, 0.5, 0.975):
        assert mixture.ppf(q) == pytest.approx(q ** (1 / a), rel=1e-9)


@pytest.mark.parametrize(
    ("column", "fields", "says"),
    [
        ("x\n1e200\n0\n", {}, "has the value 1e+200"),
        ("x\n20000\n50000\n200000\n", {}, "or the values in another unit"),
        ("x\n1\n2\n", {"components": True}, "components is True"),
    ],
)
def test_data_in_the_wrong_unit_are_refused_in_a_line(column, fields, says, tmp_path):
    path = tmp_path / "values.csv"
    path.write_text(column, encoding="utf-8")
    with pytest.raises(ValueError) as refusal:
        MixtureData(str(path), **fields)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_known_scale_needs_no_prior(tmp_path):
    """That of the scale, which follows from the data, would be out of its range."""
    path = tmp_path / "values.csv"
    path.write_text("x\n20000\n50000\n200000\n", encoding="utf-8")
    assert MixtureData(str(path), scale=5000.0, components=2.0).arguments()["components"] == 2
