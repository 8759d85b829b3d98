"""Coordinate ascent for latent Dirichlet allocation (Blei, Ng & Jordan 2003, sections 5.2 to 5.4), in closed form.

The guide is q(topics_k) = Dirichlet(lambda_k), q(theta_d) = Dirichlet(gamma_d), and a q of its own for every word's
topic. With the last at its best given the others, r_dvk proportional to exp(E log theta_dk + E log topics_kv), the
bound on the log evidence is

    sum_dv n_dv log sum_k exp(E log theta_dk + E log topics_kv) - KL(q(theta), prior) - KL(q(topics), prior)

and the updates are gamma_dk = alpha + sum_v n_dv r_dvk and lambda_kv = beta + sum_d n_dv r_dvk.

Where the words' topics are summed out, as in the model here, the same q(theta) q(topics) has a higher ELBO: the first
term becomes sum_dv n_dv E log (theta_d topics)_v. With theta_d = g / sum g, g_k ~ Gamma(gamma_dk), and log x =
int (exp(-t) - exp(-t x)) dt / t, that is an integral over one number, whatever the number of topics:

    E log (theta topics)_v = int_0^inf (exp(-t) - prod_k E (1 + t topics_kv)^-gamma_k) dt / t - psi(sum gamma)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
from scipy import special

from models import dirichlet
from models.contract import Best, CoordinateAscent, Latents
from models.dirichlet import divergence, expected_log, log_density
from models.lda.data import Corpus

MOST_LOGS = 50_000  # pairs of a document and a word, times topics, up to which the ELBO takes seconds
STARTS, FEWEST = 400, 8  # how many starts, fewer where the corpus is large
WORK = 40_000_000  # pairs of a document and a word, times topics, times starts, times sweeps
SWEEPS = 20_000
U_STEP = 0.4

State = Mapping[str, np.ndarray]
FAMILY = "dirichlet"


class Updates:
    """The updates of one corpus, of any number of states at once: ``gamma`` (..., documents, topics), ``lambda``
    (..., topics, words)."""

    def __init__(self, data: Corpus) -> None:
        arguments = data.arguments()
        self.counts, self.alpha, self.beta = (arguments[name] for name in ("counts", "alpha", "beta"))

    def start(self, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        """Topics near the uniform (Hoffman, Blei & Bach 2010), each word's share of a document's topics the same."""
        n_topics, (n_documents, n_words) = len(self.alpha), self.counts.shape
        gamma = self.alpha + self.counts.sum(1)[:, None] / n_topics
        topics = rng.gamma(100.0, 0.01, (count, n_topics, n_words))
        return {"gamma": np.broadcast_to(gamma, (count, n_documents, n_topics)), "lambda": topics}

    def factors(self, state: State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """exp E log theta, exp E log topics, and the sum of their products over topics, (..., documents, words)."""
        theta, topics = np.exp(expected_log(state["gamma"])), np.exp(expected_log(state["lambda"]))
        return theta, topics, np.maximum(theta @ topics, np.finfo(float).tiny)

    def sweep(self, state: State) -> Iterator[dict[str, np.ndarray]]:
        theta, topics, total = self.factors(state)
        state = {**state, "gamma": self.alpha + theta * ((self.counts / total) @ np.swapaxes(topics, -1, -2))}
        yield state
        theta, topics, total = self.factors(state)
        yield {**state, "lambda": self.beta + topics * (np.swapaxes(theta, -1, -2) @ (self.counts / total))}

    def cost(self, state: State) -> np.ndarray:
        """KL(q, prior) in nats."""
        return divergence(state["gamma"], self.alpha).sum(-1) + divergence(state["lambda"], self.beta).sum(-1)

    def bound(self, state: State) -> np.ndarray:
        """The bound with a q for every word's topic, in nats."""
        return special.xlogy(self.counts, self.factors(state)[2]).sum((-2, -1)) - self.cost(state)

    def elbo(self, state: State) -> float:
        """The ELBO of q(theta) q(topics) with the words' topics summed out, in nats, to 1e-8 a word."""
        logs = expected_logs(state["gamma"], state["lambda"], self.counts > 0)
        return float((self.counts * logs).sum() - self.cost(state))

    def draw(self, state: State, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
        sites = {"topics": "lambda", "theta": "gamma"}
        return {site: dirichlet.draw(state[name], rng, count) for site, name in sites.items()}

    def log_guide(self, state: State, latents: Latents) -> np.ndarray:
        theta = log_density(latents["theta"], state["gamma"]).sum(-1)
        return theta + log_density(latents["topics"], state["lambda"]).sum(-1)


def expected_logs(gamma: np.ndarray, topics: np.ndarray, needed: np.ndarray) -> np.ndarray:
    """E log (theta_d topics)_v where it is needed, shape (documents, words), else 0: the integral above.

    By trapezoid rules over log t and over the logit of each topics_kv: where an integrand is analytic and falls off
    exponentially at both ends they converge faster than any power of the step.
    """
    results, total = np.zeros(needed.shape), gamma.sum(1)
    slowest = np.minimum(gamma[:, :, None], topics).sum(1)[needed].min()
    u = np.arange(-26 - np.log(total.max()), 6 + 30 / slowest, U_STEP)
    for word in np.flatnonzero(needed.any(0)):
        rows = np.flatnonzero(needed[:, word])
        product = np.ones((len(rows), len(u)))
        for topic, row in enumerate(topics):
            phi, weights = beta_rule(row[word], row.sum() - row[word])
            logs = np.log1p(np.exp(u)[:, None] * phi)
            for place, a in enumerate(gamma[rows, topic]):
                product[place] *= np.exp(-a * logs) @ weights
        results[rows, word] = U_STEP * (np.exp(-np.exp(u)) - product).sum(1) - special.digamma(total[rows])
    return results


def beta_rule(a: float, b: float) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights, which sum to 1, of a rule for expectations under Beta(a, b), each (n,)."""
    middle = special.digamma(a) - special.digamma(b)
    sd = np.sqrt(special.polygamma(1, a) + special.polygamma(1, b))
    x = np.arange(middle - 8 * sd - 26 / a, middle + 8 * sd + 26 / b, min(0.5, sd / 2))
    return special.expit(x), special.softmax(a * special.log_expit(x) + b * special.log_expit(-x))


def restarts(data: Corpus) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The bounds where the updates end from many starts, shape (starts,), and the state of the best."""
    return settled(data, data.counts.tobytes(), data.counts.shape)


@lru_cache(maxsize=4)
def settled(data: Corpus, content: bytes, shape: tuple[int, int]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The same, computed once for each content of the data."""
    updates, size = Updates(data), data.counts.size * data.topics
    count = int(np.clip(WORK // (100 * size), FEWEST, STARTS))
    state = settle(updates, updates.start(np.random.default_rng(0), count), max(100, WORK // (count * size)))
    bounds = updates.bound(state)
    best = {name: value[bounds.argmax()] for name, value in state.items()}
    return bounds, settle(updates, best, SWEEPS)


def settle(updates: Updates, state: State, sweeps: int) -> dict[str, np.ndarray]:
    """The state after that many sweeps, or fewer once nothing moves."""
    for _ in range(sweeps):
        before = state
        *_, state = updates.sweep(before)
        if max(np.abs(state[name] - before[name]).max() for name in state) < 1e-9:
            break
    return dict(state)


def optima(data: Corpus) -> dict[str, float]:
    """The share of the starts that ends at each optimum, by its bound in nats to three digits, the best first."""
    bounds, _ = restarts(data)
    values, counts = np.unique(np.round(bounds, 3), return_counts=True)
    return {f"{value:.3f}": float(n / len(bounds)) for value, n in zip(values[::-1], counts[::-1], strict=True)}


def is_large(data: Corpus) -> bool:
    """Whether the ELBO would take too long."""
    return int((data.counts > 0).sum()) * data.topics > MOST_LOGS


def best_member(data: Corpus, family: str) -> Best | None:
    """The best member among Dirichlets: where the best of the starts ends."""
    if family != FAMILY or is_large(data):
        return None
    bounds, state = restarts(data)
    tolerance, method = 1e-8 * float(data.counts.sum()), f"the best of {len(bounds)} starts of coordinate ascent"
    return Best(Updates(data).elbo(state), tolerance, method, {})


def coordinate_ascent(data: Corpus) -> dict[str, CoordinateAscent]:
    """Blei, Ng and Jordan's updates from where the best of the starts ends; none where the corpus is large. The ELBO
    shown has the words' topics summed out; their bound is lower."""
    if is_large(data):
        return {}
    updates, (bounds, state) = Updates(data), restarts(data)
    title = f"coordinate ascent, the best of {len(bounds)} starts"
    steps = updates.sweep, updates.elbo, updates.draw, updates.log_guide
    return {"coordinate_ascent": CoordinateAscent(title, state, *steps, FAMILY)}
