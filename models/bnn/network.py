"""The network in NumPy: its values, what they say of data, and its output layer given the hidden one."""

from collections.abc import Callable, Iterator

import numpy as np
from scipy import special, stats

from models.bnn.data import BnnData
from models.contract import Element, Latents, Predictions

ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0.0)}


def shapes(data: BnnData) -> dict[str, tuple[int, ...]]:
    """The shapes of the latent sites."""
    columns, hidden = data.dataset.inputs.shape[1], data.hidden
    weights = {
        "hidden_weights": (columns, hidden),
        "hidden_biases": (hidden,),
        "output_weights": (hidden,),
        "output_bias": (),
    }
    return weights if data.dataset.classes or data.dataset.noise is not None else {**weights, "noise": ()}


def scales(data: BnnData) -> dict[str, float]:
    """The prior's sd of each site; that of the noise is half normal."""
    return {"hidden_weights": data.dataset.inputs.shape[1] ** -0.5, "output_weights": data.hidden**-0.5}


def prior(data: BnnData, rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Draws from the prior, each site of shape (count, *shape)."""
    drawn = {site: rng.standard_normal((count, *shape)) for site, shape in shapes(data).items()}
    drawn |= {site: scale * drawn[site] for site, scale in scales(data).items()}
    return drawn | ({"noise": np.abs(drawn["noise"])} if "noise" in drawn else {})


def log_prior(data: BnnData, latents: Latents) -> np.ndarray:
    """log p(weights and biases), shape (n_draws,)."""
    scale = {"hidden_biases": 1.0, "output_bias": 1.0, **scales(data)}
    terms = [stats.norm.logpdf(latents[site], scale=scale[site]) for site in shapes(data) if site in scale]
    return np.sum([term.reshape(len(term), -1).sum(axis=1) for term in terms], axis=0)


def pieces(latents: Latents, size: int) -> Iterator[dict[str, np.ndarray]]:
    """The draws in pieces of ``size``: what follows from a piece fits into memory."""
    for begin in range(0, len(latents["hidden_biases"]), max(1, size)):
        yield {site: value[begin : begin + max(1, size)] for site, value in latents.items()}


def units(latents: Latents, inputs: np.ndarray, activation: str) -> np.ndarray:
    """The hidden units at ``inputs``, shape (rows, columns): shape (n_draws, rows, hidden)."""
    return ACTIVATIONS[activation](inputs @ latents["hidden_weights"] + latents["hidden_biases"][:, None, :])


def values(latents: Latents, inputs: np.ndarray, activation: str) -> np.ndarray:
    """The function f at ``inputs``, shape (rows, columns): shape (n_draws, rows)."""
    layers = (
        (units(piece, inputs, activation) @ piece["output_weights"][:, :, None])[:, :, 0]
        + piece["output_bias"][:, None]
        for piece in pieces(latents, 4_000_000 // (len(inputs) * latents["hidden_biases"].shape[1]))
    )
    return np.concatenate(list(layers))


def noise_of(data: BnnData, latents: Latents) -> np.ndarray:
    """The noise's sd of each draw, shape (n_draws, 1)."""
    known, n_draws = data.dataset.noise, len(latents["hidden_biases"])
    return np.broadcast_to(latents["noise"] if known is None else known, n_draws)[:, None]


def observe(data: BnnData, latents: Latents, rng: np.random.Generator) -> np.ndarray:
    """Targets at the fitted rows, drawn for each draw of the latents: shape (n_draws, rows)."""
    f = values(latents, data.dataset.inputs, data.activation)
    if data.dataset.classes:
        return (rng.random(f.shape) < special.expit(f)).astype(float)
    return f + noise_of(data, latents) * rng.standard_normal(f.shape)


def derive(data: BnnData, latents: Latents) -> dict[str, np.ndarray]:
    """The function at the grid, shape (n_draws, points)."""
    return {"f": values(latents, data.dataset.grid, data.activation)}


def report(data: BnnData) -> list[Element]:
    """The function at the grid, and the noise where it is unknown."""
    values: list[Element] = [("f", (point,)) for point in range(len(data.dataset.grid))]
    return [*values, ("noise", ())] if "noise" in shapes(data) else values


def log_density(data: BnnData, latents: Latents, f: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """log p(target | f) of each, shape (n_draws, rows)."""
    if data.dataset.classes:
        return special.log_expit(np.where(targets == 1, f, -f))
    return stats.norm.logpdf(targets, f, noise_of(data, latents))


def pointwise(data: BnnData, latents: Latents) -> dict[str, np.ndarray]:
    """log p(y_i | weights) of every fitted row, shape (n_draws, rows)."""
    f = values(latents, data.dataset.inputs, data.activation)
    return {"targets": log_density(data, latents, f, data.dataset.targets)}


def log_joint(data: BnnData, latents: Latents) -> np.ndarray:
    """log p(targets, weights) in nats, shape (n_draws,)."""
    return log_prior(data, latents) + pointwise(data, latents)["targets"].sum(axis=1)


def predict(data: BnnData, latents: Latents) -> Predictions:
    """What draws of the weights say of the held-out rows."""
    f, targets = values(latents, data.dataset.test_inputs, data.activation), data.dataset.test_targets
    density = log_density(data, latents, f, targets)
    if data.dataset.classes:
        return Predictions(targets, density, special.expit(f))
    return Predictions(targets, density, f, special.ndtr((targets - f) / noise_of(data, latents)))


def complete(data: BnnData, latents: Latents, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw the output layer from its Gaussian distribution given the hidden one (Bishop 2006, section 3.3.1).

    With features phi = [units, 1] and prior variances S its precision is A = S^-1 + phi'phi / noise^2 and its mean
    A^-1 phi'y / noise^2.
    """
    full = {site: np.asarray(value) for site, value in latents.items()}
    n_draws, hidden = full["hidden_biases"].shape
    prior = np.diag([*np.full(hidden, float(hidden)), 1.0])
    drawn = {"variance": noise_of(data, full)[:, :, None] ** 2, "eps": rng.standard_normal((n_draws, hidden + 1, 1))}
    output = []
    for piece in pieces(full | drawn, 2_000_000 // (len(data.dataset.inputs) * (hidden + 1))):
        layer = units(piece, data.dataset.inputs, data.activation)
        features = np.pad(layer, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
        transposed = features.transpose(0, 2, 1)
        lower = np.linalg.cholesky(prior + transposed @ features / piece["variance"])
        half = np.linalg.solve(lower, transposed @ data.dataset.targets[:, None] / piece["variance"])
        output.append(np.linalg.solve(lower.transpose(0, 2, 1), half + piece["eps"])[:, :, 0])
    weights = np.concatenate(output)
    return full | {"output_weights": weights[:, :-1], "output_bias": weights[:, -1]}
