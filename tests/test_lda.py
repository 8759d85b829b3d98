"""Latent Dirichlet allocation: every number by a second method, the twins by hand sums, and objectives and bounds."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import side
from scipy import special, stats

from compare.calibration import calibrate
from compare.comparison import Request
from compare.measure.symmetry import shares_gap
from models import dirichlet
from models.lda import MODEL, Corpus
from models.lda.coordinate_ascent import Updates, best_member, expected_logs, optima, restarts
from models.lda.data import SENTENCES
from models.lda.exact import CountTables, n_tables, truth
from models.lda.literature import point_mass
from models.lda.pictures import by_token, cooccurrence, shared
from models.lda.quantities import derive

ERRORS = 4
TINY, ONE, THREE = Corpus(), Corpus(topics=1), Corpus(topics=3, beta=1.0)


def prior_draws(data: Corpus, seed: int, count: int) -> dict[str, np.ndarray]:
    return MODEL.simulate(data, np.random.default_rng(seed), count).latents


def log_prior(data: Corpus, latents: dict[str, np.ndarray]) -> np.ndarray:
    """By SciPy's Dirichlet, draw by draw and row by row."""
    priors = {"topics": np.full(data.counts.shape[1], data.beta), "theta": np.full(data.topics, data.alpha)}
    return np.array(
        [
            sum(stats.dirichlet(a).logpdf(row / row.sum()) for site, a in priors.items() for row in latents[site][draw])
            for draw in range(len(latents["theta"]))
        ]
    )


def by_assignments() -> tuple[float, np.ndarray]:
    """Tiny's log evidence and P(two words share a topic), (words, words), by all 2^15 assignments, everything
    integrated out."""
    document, word = np.repeat(np.arange(3), 5), np.concatenate(SENTENCES)
    topic = np.array(list(itertools.product((0, 1), repeat=15)))
    logs = np.zeros(len(topic))
    for k in (0, 1):
        of = topic == k
        words = np.stack([(of & (word == v)).sum(1) for v in range(3)], axis=1)
        logs += dirichlet.log_beta(0.5 + words) - dirichlet.log_beta(np.full(3, 0.5))
    for d in range(3):
        ones = topic[:, document == d].sum(1)
        logs += dirichlet.log_beta(0.5 + np.stack([ones, 5 - ones], 1)) - dirichlet.log_beta(np.full(2, 0.5))
    weights = special.softmax(logs)
    same = topic[:, :, None] == topic[:, None, :]
    return float(special.logsumexp(logs)), np.tensordot(weights, same, 1)


def test_tables_are_the_assignments_summed_up() -> None:
    """The evidence and every pair of words of tiny, by 32,768 assignments and by 1,200 tables. Its sentences are not in
    order, so that words are compared by document and word."""
    evidence, together = by_assignments()
    exact = truth(TINY)
    assert n_tables(TINY) == 1200 == len(exact.weights)
    assert exact.log_evidence == pytest.approx(evidence, abs=1e-11)
    assert exact.log_evidence == pytest.approx(-16.938915, abs=5e-7)
    order = np.concatenate([5 * d + np.argsort(words, kind="stable") for d, words in enumerate(SENTENCES)])
    np.testing.assert_allclose(by_token(exact, exact.together), together[np.ix_(order, order)], atol=1e-11)
    assert together[0, 5] == pytest.approx(0.2409, abs=5e-5)
    assert exact.mean()["share"] == pytest.approx([together[0, 5], together[0, 10]], abs=1e-11)


def test_one_topic_is_closed() -> None:
    """log B(beta + n) - log B(beta), and a Dirichlet."""
    n = TINY.counts.sum(0)
    closed = special.gammaln(0.5 + n).sum() - special.gammaln(16.5) - 3 * special.gammaln(0.5) + special.gammaln(1.5)
    exact = truth(ONE)
    assert exact.log_evidence == pytest.approx(closed, abs=1e-11)
    assert exact.mean()["topics"][0] == pytest.approx((0.5 + n) / 16.5, abs=1e-12)
    assert exact.quantile(0.3)["topics"][0, 1] == pytest.approx(stats.beta(5.5, 11.0).ppf(0.3), abs=1e-10)
    assert exact.sd()["theta"].max() == 0 and "share" not in exact.mean()
    best = best_member(ONE, "dirichlet")
    assert best.elbo == pytest.approx(closed, abs=1e-7), "one topic's Dirichlet is the posterior"


@pytest.mark.parametrize("data", [TINY, ONE, THREE], ids=["tiny", "one", "three"])
def test_the_twins_sum_out_the_topic_of_every_word(library, data) -> None:
    """Log prior by SciPy; log likelihood by a sum over all assignments of each document's words, to 1e-9."""
    latents = prior_draws(data, 0, 5)
    arguments, static = side(library).split_arguments(data.arguments())
    log_p, log_likelihood = side(library).density("lda", static)(latents, arguments)
    np.testing.assert_allclose(log_p, log_prior(data, latents), atol=1e-9)
    for draw in range(5):
        total = 0.0
        for d, words in enumerate(SENTENCES):
            theta, topics = latents["theta"][draw, d], latents["topics"][draw]
            each = theta[:, None] * topics[:, words]
            ways = np.array(list(itertools.product(range(data.topics), repeat=len(words))))
            total += math.log(each[ways, np.arange(len(words))].prod(axis=1).sum())
        assert log_likelihood[draw] == pytest.approx(total, abs=1e-9)


def test_the_posterior_is_the_mixture_of_its_tables() -> None:
    """The density that is said, by the multinomial theorem, against the sum over 1,200 products of Dirichlets."""
    exact = truth(TINY)
    latents = exact.draw(np.random.default_rng(1), 50)
    logs = np.log(exact.weights) + np.array(
        [
            dirichlet.log_density(latents["theta"][draw], exact.theta).sum(-1)
            + dirichlet.log_density(latents["topics"][draw], exact.topics).sum(-1)
            for draw in range(50)
        ]
    )
    np.testing.assert_allclose(exact.log_posterior(latents), special.logsumexp(logs, axis=1), atol=1e-9)


@pytest.mark.parametrize("data", [TINY, THREE], ids=["tiny", "three"])
def test_moments_are_those_of_weighted_draws_from_the_prior(data) -> None:
    """Evidence, means and sds of all that is judged, without tables: each within 4 standard errors."""
    count, exact = 100_000, truth(data)
    latents = prior_draws(data, 2, count)
    log_weights = special.xlogy(data.counts, latents["theta"] @ latents["topics"]).sum((1, 2))
    weights = np.exp(log_weights - exact.log_evidence)
    assert weights.mean() == pytest.approx(1, abs=ERRORS * weights.std() / math.sqrt(count))
    weights /= weights.mean()
    for site, values in derive(data, latents).items():
        flat, means, sds = values.reshape(count, -1), exact.mean()[site].ravel(), exact.sd()[site].ravel()
        for power, right, slack in ((1, means, 0.0), (2, sds**2 + means**2, 0.02 * sds**2)):
            left = weights[:, None] * (flat**power - right)
            # The sd of a share is from the exact posterior's own draws, to 0.2%.
            assert np.all(np.abs(left.mean(0)) < ERRORS * left.std(0) / math.sqrt(count) + slack * (site == "share"))


def test_derived_quantiles_are_those_of_other_draws() -> None:
    """Of 400,000 exact draws of another seed the share below each quantile, within 4 errors of both."""
    exact = truth(TINY)
    draws = derive(TINY, exact.draw(np.random.default_rng(7), 400_000))
    for site, values in draws.items():
        for probability in (0.025, 0.5, 0.975):
            below = (values <= exact.quantile(probability)[site]).mean(0)
            error = math.sqrt(probability * (1 - probability) * (1 / 400_000 + 1 / 2**17))
            assert np.all(np.abs(below - probability) < ERRORS * error + 1e-4)  # 1e-4: the cubic between quantiles


def bound_by_hand(data: Corpus, gamma: np.ndarray, topics: np.ndarray) -> float:
    """Blei, Ng & Jordan's equation 15, smoothed, with r given for every word: its terms one by one."""
    theta_log = special.digamma(gamma) - special.digamma(gamma.sum(1, keepdims=True))
    topics_log = special.digamma(topics) - special.digamma(topics.sum(1, keepdims=True))
    total = 0.0
    for d, words in enumerate(SENTENCES):
        for v in words:
            r = special.softmax(theta_log[d] + topics_log[:, v])
            total += r @ (theta_log[d] + topics_log[:, v] - np.log(r))
        total += (data.alpha - 1) * theta_log[d].sum() - dirichlet.log_beta(np.full(2, data.alpha))
        total += stats.dirichlet(gamma[d]).entropy()
    for k in (0, 1):
        total += (data.beta - 1) * topics_log[k].sum() - dirichlet.log_beta(np.full(3, data.beta))
        total += stats.dirichlet(topics[k]).entropy()
    return float(total)


def test_coordinate_ascent_ends_at_one_of_three_optima() -> None:
    """No update lowers the bound; 400 starts end at -19.458 (2.52 nats short, log 2 of it symmetry), -20.216 or
    -20.873; and the best is far too sure."""
    updates, exact = Updates(TINY), truth(TINY)
    state = updates.start(np.random.default_rng(3), 50)
    bound = updates.bound(state)
    for _ in range(60):
        for after in updates.sweep(state):
            state = after
            higher = updates.bound(state)
            assert np.all(higher >= bound - 1e-12)
            bound = higher
    assert [*optima(TINY)] == ["-19.458", "-20.216", "-20.873"]
    assert sum(optima(TINY).values()) == pytest.approx(1) and 0.5 < optima(TINY)["-19.458"] < 0.9
    bounds, best = restarts(TINY)
    assert bounds.max() == pytest.approx(bound_by_hand(TINY, best["gamma"], best["lambda"]), abs=1e-9)
    assert exact.log_evidence - bounds.max() == pytest.approx(2.52, abs=0.005)
    theta, topics = np.exp(dirichlet.expected_log(best["gamma"])), np.exp(dirichlet.expected_log(best["lambda"]))
    r = [theta[d] * topics[:, SENTENCES[d][0]] for d in (0, 1)]
    assert r[0] @ r[1] / (r[0].sum() * r[1].sum()) == pytest.approx(0.011, abs=5e-4), "0.2409 is right"


def test_the_elbo_with_the_words_topics_summed_out() -> None:
    """By the integral, against 400,000 draws; higher than the bound, as it has no factors for the words."""
    updates, (bounds, best) = Updates(TINY), restarts(TINY)
    latents = updates.draw(best, np.random.default_rng(4), 400_000)
    each = special.xlogy(TINY.counts, latents["theta"] @ latents["topics"]).sum((1, 2))
    each -= updates.log_guide(best, latents)
    for site in ("theta", "topics"):
        each += dirichlet.log_density(latents[site], np.full(latents[site].shape[-1], 0.5)).sum(-1)
    assert updates.elbo(best) == pytest.approx(each.mean(), abs=ERRORS * each.std() / math.sqrt(len(each)))
    assert bounds.max() < updates.elbo(best) < truth(TINY).log_evidence


def test_the_symmetry_is_one_of_names() -> None:
    """New names leave what is judged alone and carry one region into another; the exact posterior covers both, and
    coordinate ascent, in one of them, is nearly log 2 short."""
    exact, (_, best) = truth(TINY), restarts(TINY)
    latents = exact.draw(np.random.default_rng(8), 20_000)
    renamed = {"topics": latents["topics"][:, ::-1], "theta": latents["theta"][:, :, ::-1]}
    for site, values in derive(TINY, latents).items():
        np.testing.assert_allclose(values, derive(TINY, renamed)[site], atol=1e-12)
    regions = MODEL.symmetry.region(TINY, latents)
    assert MODEL.symmetry.copies(TINY) == 2 and MODEL.symmetry.copies(THREE) == 6
    assert np.all(regions != MODEL.symmetry.region(TINY, renamed))
    assert shares_gap(np.unique(regions[:, 0], return_counts=True)[1], 2).value < 1e-3
    inside = MODEL.symmetry.region(TINY, Updates(TINY).draw(best, np.random.default_rng(9), 20_000))
    assert math.log(2) - 0.1 < shares_gap(np.unique(inside[:, 0], return_counts=True)[1], 2).value <= math.log(2)


@pytest.mark.parametrize("size", [0.2, 0.5, 20.0, 900.0])
def test_expected_logs_have_closed_forms(size) -> None:
    """With one topic, psi(a) - psi(a + b). With all topics' Dirichlets (a/2, a/2) of theta's total a, too: theta
    topics is then Beta(a/2, a/2), as g_k phi_k are independent Gammas."""
    closed = special.digamma(size) - special.digamma(3 * size)
    assert expected_logs(np.array([[7.0]]), np.array([[size, 2 * size]]), np.ones((1, 2), bool))[0, 0] == pytest.approx(
        closed, abs=1e-8
    )
    gamma = np.array([[size, 2 * size, 0.7 * size]])
    topics = np.stack([gamma[0] / 3, 2 * gamma[0] / 3], axis=1)
    total = gamma.sum()
    logs = expected_logs(gamma, topics, np.ones((1, 2), bool))[0]
    assert logs == pytest.approx(special.digamma([total / 3, 2 * total / 3]) - special.digamma(total), abs=1e-7)


def test_a_point_mass_on_theta_has_an_objective_that_grows_without_end() -> None:
    """-5.6, 8.2 and 35.8 nats, far above the evidence, at the corner that gives documents 0 and 2 one topic: by hand,
    log p(theta) + log B ratios of the topics' counts."""
    exact = truth(TINY)
    for corner, expected in ((1e-4, -5.6), (1e-8, 8.2), (1e-16, 35.8)):
        log_theta = 3 * (-math.log(math.pi) - 0.5 * math.log(corner) - 0.5 * math.log1p(-corner))
        groups = TINY.counts[0] + TINY.counts[2], TINY.counts[1]
        words = sum(dirichlet.log_beta(0.5 + n) - dirichlet.log_beta(np.full(3, 0.5)) for n in groups)
        assert point_mass(exact, corner) == pytest.approx(log_theta + words, abs=20 * corner + 1e-9)
        assert point_mass(exact, corner) == pytest.approx(expected, abs=0.05) and expected > exact.log_evidence
    (_, row) = MODEL.literature.published(TINY, {})
    assert row.agrees is False
    assert all(row.agrees for row in MODEL.literature.published(replace(TINY, alpha=1.0), {}))


def test_the_exact_posterior_is_calibrated(monkeypatch) -> None:
    """Over 60 corpora from the prior, of other seeds than any above."""
    alone = replace(MODEL, coordinate_ascent=None)
    monkeypatch.setattr("compare.registry.load", lambda name: alone)
    summary = calibrate(Request(alone, TINY, ("numpyro",), (), nuts=False), 60).summary
    assert summary["fits"]["exact"]["verdict"]["word"] == "agrees"


def test_simulated_corpora_have_the_lengths_of_the_data() -> None:
    simulated = MODEL.simulate(Corpus("bars"), np.random.default_rng(0), 3)
    assert all((data.counts.sum(1) == 100).all() for data in simulated.data)
    assert MODEL.exact(simulated.data[0]) is None and truth(Corpus("bars")).method.startswith("NUTS")


def test_bars_are_rows_and_columns() -> None:
    data = Corpus("bars")
    assert data.counts.shape == (100, 25) and data.topics == 10 and (data.counts.sum(1) == 100).all()
    square = data.counts.reshape(100, 5, 5)
    for lines in (square.sum(1), square.sum(2)):
        assert lines.mean() == 20 and lines.var() > 40, "spots at random would have a variance of 100 * 0.2 * 0.8 = 16"


def test_a_word_that_never_occurs_and_one_document_are_fine(tmp_path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("sun,moon,star\n3,0,1\n")
    data = Corpus(str(path))
    exact = truth(data)
    assert [*exact.mean()] == ["topics", "theta", "predictive"]
    closed = dirichlet.log_beta(np.array([3.5, 0.5, 1.5])) - dirichlet.log_beta(np.full(3, 0.5))
    assert truth(Corpus(str(path), topics=1)).log_evidence == pytest.approx(closed, abs=1e-11)
    assert exact.mean()["predictive"].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        ("a,b\n1,2\n0,0\n", {}, "line 3 .* is a document without words; leave it out"),
        ("a,b\n1,2.5\n", {}, "line 2, column b .* is 2.5, not a count"),
        ("a,b\n1,-2\n", {}, "not a count; give whole numbers"),
        ("a,b\nsun,moon\n", {}, "not a number"),
        ("a,b\n1,\n", {}, "is missing"),
        ("a,b\n", {}, "has 0 documents"),
        ("a\n3\n", {}, "and 1 words"),
        ("1,2\n3,4\n", {}, "has no header"),
        ("a,b\n1,2\n", {"alpha": 0.0}, "alpha is 0"),
        ("a,b\n1,2\n", {"beta": -1.0}, "beta is -1"),
        ("a,b\n1,2\n", {"topics": 0}, "topics is 0: give a whole number from 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(tmp_path, text: str, fields: dict, says: str) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        Corpus(**{"data": str(path)} | fields)
    assert "\n" not in str(error.value)


def test_no_such_data() -> None:
    with pytest.raises(ValueError, match="did you mean 'bars'"):
        Corpus("bar")


def test_the_picture_is_drawn(tmp_path) -> None:
    exact = truth(TINY)
    assert isinstance(exact, CountTables)
    cooccurrence({}, TINY, exact, tmp_path / "cooccurrence.png")
    assert (tmp_path / "cooccurrence.png").stat().st_size > 10_000
    draws = shared(exact, exact.draw(np.random.default_rng(5), 100_000))
    off = ~np.eye(len(draws), dtype=bool)
    assert np.abs(draws - exact.together)[off].max() < ERRORS * 0.5 / math.sqrt(100_000)
    assert MODEL.pictures[0].applies(TINY) and not MODEL.pictures[0].applies(ONE)


def test_a_large_corpus_with_a_single_topic_is_solved():
    """It has thousands of pairs of a document and a word, and a single table."""
    exact = truth(Corpus("bars", topics=1))
    counts = Corpus("bars", topics=1).counts.sum(0)
    expected = special.gammaln(counts + 0.5).sum() - special.gammaln(counts.sum() + 0.5 * len(counts))
    expected -= len(counts) * special.gammaln(0.5) - special.gammaln(0.5 * len(counts))
    assert exact.log_evidence == pytest.approx(expected, rel=1e-12)
