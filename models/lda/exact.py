"""The exact posterior of small corpora: a mixture over tables of how many of each document's words each topic has.

Given the topic of every word, Dirichlet priors are conjugate: theta_d ~ Dirichlet(alpha + n_d) and topics_k ~
Dirichlet(beta + n_k), with n_dk words of document d, and n_kv words v, in topic k. That depends on the assignments only
through the table c_dvk, how many of the n_dv words v of document d are in topic k. So the sum over K^N assignments is a
sum over tables, each with prod_dv n_dv! / prod_k c_dvk! assignments:

    p(table, words) = prod_dv multinomial(c_dv) prod_d B(alpha + n_d) / B(alpha) prod_k B(beta + n_k) / B(beta)

with B(a) = prod Gamma(a_i) / Gamma(sum a_i) (Griffiths & Steyvers 2004, equations 2 and 3).
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from scipy import special

from models import dirichlet
from models.contract import Exact, Latents, Marginal, Reference
from models.dirichlet import log_beta
from models.lda.coordinate_ascent import optima
from models.lda.data import Corpus
from models.lda.quantities import derive, first_words, shown
from models.marginals import BetaMixture, Drawn

LIMIT = 150_000
"""Most tables that are summed over."""

DRAWS = 2**17
"""Exact draws that the quantiles of derived quantities, and the sd of `share`, are from: to 0.14% of probability and
0.2% of the sd."""


def n_tables(data: Corpus) -> int:
    """How many tables there are."""
    return math.prod(math.comb(int(n) + data.topics - 1, data.topics - 1) for n in data.counts[data.counts > 0])


def splits(total: int, parts: int) -> np.ndarray:
    """All ways to split a total into ``parts`` whole numbers, shape (ways, parts)."""
    if parts == 1:
        return np.array([[total]])
    walls = np.array(list(itertools.combinations(range(total + parts - 1), parts - 1)), int)
    ends = np.full((len(walls), 1), total + parts - 1)
    return np.diff(np.hstack([walls.reshape(len(walls), parts - 1), ends]), prepend=-1, axis=1) - 1


def truth(data: Corpus) -> Exact | Reference:
    """The sum over tables where there are at most `LIMIT` of them; else NUTS."""
    n, k = data.counts[data.counts > 0], data.topics
    log_tables = np.sum(special.gammaln(n + k) - special.gammaln(n + 1) - special.gammaln(k))
    if log_tables > math.log(LIMIT) + 1e-6:  # the whole number would be too long
        return Reference("NUTS, the topics of the words summed out")
    return solved(data, data.counts.tobytes(), data.counts.shape)


@lru_cache(maxsize=4)
def solved(data: Corpus, content: bytes, shape: tuple[int, int]) -> CountTables:
    """The posterior, computed once for each content of the data."""
    return CountTables(data)


class CountTables(Exact):
    """The posterior as a mixture of products of Dirichlets, one for each table.

    Attributes:
        tables: c, shape (n_tables, pairs, topics), for the pairs of a document and a word in it.
        theta: Concentrations of each document's topics, shape (n_tables, documents, topics).
        topics: Concentrations of each topic's words, shape (n_tables, topics, words).
        weights: Posterior probabilities of the tables, shape (n_tables,).
        given_theta: log p(table, words | theta) less sum_dk n_dk log theta_dk, shape (n_tables,).
    """

    tolerance = 1e-10

    def __init__(self, data: Corpus) -> None:
        self.data, (n_documents, n_words) = data, data.counts.shape
        self.document, self.word = np.nonzero(data.counts)
        self.n = data.counts[self.document, self.word]
        ways = [splits(int(n), data.topics) for n in self.n]
        table, pieces = np.arange(n_tables(data)), []
        for way in ways:  # a table's number has a digit for each pair
            pieces.append(way[table % len(way)])
            table //= len(way)
        self.tables = np.stack(pieces, axis=1)
        self.theta = data.alpha + np.einsum("tpk,pd->tdk", self.tables, np.eye(n_documents)[self.document])
        self.topics = data.beta + np.einsum("tpk,pv->tkv", self.tables, np.eye(n_words)[self.word])
        assignments = (special.gammaln(self.n + 1) - special.gammaln(self.tables + 1).sum(-1)).sum(-1)
        priors = data.arguments()
        by_document = log_beta(self.theta).sum(-1) - n_documents * log_beta(priors["alpha"])
        by_topic = log_beta(self.topics).sum(-1) - data.topics * log_beta(priors["beta"])
        self.given_theta = assignments + by_topic
        logs = self.given_theta + by_document
        self.log_evidence = float(special.logsumexp(logs))
        self.weights = special.softmax(logs)
        self.method = f"enumeration of {len(logs):,} count tables"
        self.marginals: dict[tuple[str, tuple[int, ...]], Marginal] = {}

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        table = rng.choice(len(self.weights), count, p=self.weights)
        return {"topics": dirichlet.draw(self.topics[table], rng), "theta": dirichlet.draw(self.theta[table], rng)}

    def log_posterior(self, latents: Latents) -> np.ndarray:
        """By the multinomial theorem the tables' densities add up to prior times likelihood over evidence."""
        priors = self.data.arguments()
        words = latents["theta"] @ latents["topics"]
        logs = special.xlogy(priors["counts"], words).sum((1, 2)) - self.log_evidence
        logs += dirichlet.log_density(latents["theta"], priors["alpha"]).sum(1)
        return logs + dirichlet.log_density(latents["topics"], priors["beta"]).sum(1)

    def marginal(self, site: str, index: tuple[int, ...] = ()) -> Marginal:
        if (site, index) not in self.marginals:
            if site in ("topics", "theta"):
                a = getattr(self, site)
                first = a[(slice(None), *index)]
                known: Marginal = BetaMixture(first, a[(slice(None), *index[:-1])].sum(-1) - first, self.weights)
            else:
                mean, variance = (float(moment[index]) for moment in self.moments[site])
                known = Drawn(self.derived_draws[site][(slice(None), *index)], mean, math.sqrt(variance))
            self.marginals[site, index] = known
        return self.marginals[site, index]

    @cached_property
    def derived_draws(self) -> dict[str, Any]:
        """Derived quantities of `DRAWS` exact draws."""
        return derive(self.data, self.draw(np.random.default_rng(0), DRAWS))

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        latents = {"topics": self.topics.shape[1:], "theta": self.theta.shape[1:]}
        zeros = {site: np.zeros((1, *shape)) for site, shape in latents.items()}
        return latents | {site: value.shape[1:] for site, value in derive(self.data, zeros).items()}

    @cached_property
    def moments(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Means and variances of each site, each of its shape."""
        moments = {}
        for site in ("topics", "theta"):
            a = getattr(self, site)
            total = a.sum(-1, keepdims=True)
            mean = np.tensordot(self.weights, a / total, 1)
            moments[site] = mean, np.tensordot(self.weights, a * (a + 1) / (total * (total + 1)), 1) - mean**2
        moments["predictive"] = self.predictive_moments()
        if "share" in self._shapes:
            firsts = first_words(self.data)
            pairs = np.searchsorted(self.document, np.arange(len(firsts)))  # a document's pairs begin with that word
            moments["share"] = self.together[pairs[0], pairs[1:]], self.derived_draws["share"].var(axis=0)
        return moments

    def predictive_moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of (theta_d topics)_v, by E[theta_k theta_l] E[topics_kv topics_lv] given the table."""
        documents, words = shown(self.data)
        a, b, total = self.theta[:, :documents], self.topics[:, :, :words], self.topics.sum(-1, keepdims=True)
        mean, square, size = b / total, b * (b + 1) / (total * (total + 1)), a.sum(-1, keepdims=True)
        first = a @ mean
        second = (first**2 - a**2 @ mean**2 + (a * (a + 1)) @ square) / (size * (size + 1))
        expected = np.tensordot(self.weights, first / size, 1)
        return expected, np.tensordot(self.weights, second, 1) - expected**2

    @cached_property
    def together(self) -> np.ndarray:
        """P(two words share a topic | words) by their pairs of document and word, shape (pairs, pairs).

        On the diagonal that of two words of a pair, 1 where it has a single one.
        """
        c = self.tables.astype(float)
        both = np.einsum("t,tpk,tqk->pq", self.weights, c, c, optimize=True) / np.outer(self.n, self.n)
        same = np.einsum("t,tpk->p", self.weights, c * (c - 1)) / np.maximum(self.n * (self.n - 1), 1)
        np.fill_diagonal(both, np.where(self.n > 1, same, 1.0))
        return both

    def mean(self) -> dict[str, np.ndarray]:
        return {site: mean for site, (mean, _) in self.moments.items()}

    def sd(self) -> dict[str, np.ndarray]:
        return {site: np.sqrt(np.maximum(variance, 0.0)) for site, (_, variance) in self.moments.items()}

    def extra_summary(self) -> dict[str, Any]:
        """How many tables and modes there are, and where coordinate ascent ends."""
        ends = {f"share of coordinate ascent's starts with the bound {at}": n for at, n in optima(self.data).items()}
        return {"count tables": len(self.weights), "equal modes": math.factorial(self.data.topics), **ends}
