"""The README's tables of the semi-supervised autoencoder: python -m tests.experiments.ssvae TABLE [splits].

M2 is trained as Kingma et al. (2014) train it, with its classifier q(y | x) and the term alpha E[-log q(y | x)] over
the images with a label, by NumPyro's `TraceEnum_ELBO`. What it is worth is then known exactly, on the decoder that it
learnt: p(y | x), p(x, y) and p(x) by quadrature, and

    log p(x) - ELBO = KL(q(y | x), p(y | x)) + E_q(y | x) KL(q(z | x, y), p(z | x, y)).

``alphas``: by the weight of the classification term. ``labels``: by the number of labels, beside classifiers that know
no z, and a picture. ``guides``: what the guides for z cost on one decoder, where y is summed out, and how good a model
each learns, by both libraries. Means over the splits with the standard deviation between them.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from compare.comparison import Fit, Job
from compare.fit import run as fit
from compare.measure.held_out import weights as weights_of
from compare.options import Options
from models.decoder import Decoder, random_weights
from models.ssvae import MODEL, SemiSupervised
from models.ssvae.classification import CLASSIFIERS, exact_predictions, labelled
from models.ssvae.decoder import ClassDecoder
from models.ssvae.exact import class_evidences
from models.vae import baselines

ALPHAS = (0.0, 0.1, 1.0, 10.0)
"""The weight of the classification term, in units of the number of training images; Kingma et al. have 0.1."""

LABELS = (10, 30, 100, 300)
STEPS, BATCH, RATE = 1200, 100, 3e-3
DRAWS = 64
"""Draws of z for each image and class with which the bound is measured."""

PICTURE = Path(__file__).parents[2] / "models" / "ssvae" / "accuracy.png"


def start(data: SemiSupervised, sees_class: bool, rng: np.random.Generator) -> dict[str, dict[str, np.ndarray]]:
    """Random weights of the decoder, the classifier and the encoder."""
    pixels = data.dataset.train.shape[1]
    middle = special.logit(np.clip(data.dataset.train.mean(axis=0), 0.01, 0.99))
    inputs = pixels + (data.n_classes if sees_class else 0)
    return {
        "decoder": random_weights(rng, data.latent + data.n_classes, data.hidden, middle),
        "classifier": random_weights(rng, pixels, data.hidden, np.zeros(data.n_classes), size=0.1),
        "encoder": random_weights(rng, inputs, data.hidden, np.zeros(2 * data.latent), size=0.1),
    }


def train(
    datasets: list[SemiSupervised], weights_of_term: list[float], sees_class: bool = True
) -> list[dict[str, Any]]:
    """Adam on J + alpha E[-log q(y | x)] (Kingma et al. 2014, equations 8 and 9), a training image's share of it.

    The networks of all data sets, of equal size and number of labels, are trained side by side.
    """
    import jax
    import jax.numpy as jnp
    import optax
    from numpyro.infer import TraceEnum_ELBO

    from models.ssvae import in_numpyro as twin

    count, n_classes = datasets[0].labels, datasets[0].n_classes
    n, few = len(datasets[0].dataset.train), min(BATCH, count)

    def bound(weights: Any, key: Any, images: Any, known: Any = None) -> Any:
        decoder, (classifier, encoder) = (
            twin.Decoder(**weights["decoder"]),
            (twin.Encoder(**weights[name]) for name in ("classifier", "encoder")),
        )
        return TraceEnum_ELBO().loss(
            key, {},
            lambda: twin.m2(images, decoder, n_classes, known),
            lambda: twin.m2_guide(images, classifier, encoder, n_classes, known),
        ) / len(images)  # fmt: skip

    def loss(weights: Any, key: Any, images: Any, alpha: Any) -> Any:
        unlabelled, labelled, labels = images
        keys = jax.random.split(key, 4)
        some = jax.random.choice(keys[0], n - count, (BATCH,), replace=False)
        known = jax.random.choice(keys[1], count, (few,), replace=False)
        logits = jax.vmap(twin.Encoder(**weights["classifier"]))(labelled[known])
        wrong = -jax.nn.log_softmax(logits)[jnp.arange(few), labels[known]].mean()
        first = (1 - count / n) * bound(weights, keys[2], unlabelled[some])
        return first + count / n * bound(weights, keys[3], labelled[known], labels[known]) + alpha * wrong

    optimiser = optax.adam(optax.cosine_decay_schedule(RATE, STEPS, 0.03))

    @jax.jit
    @jax.vmap
    def run(weights: Any, key: Any, images: Any, alpha: Any) -> Any:
        def step(carry: Any, key: Any) -> Any:
            weights, state = carry
            update, state = optimiser.update(jax.grad(loss)(weights, key, images, alpha), state)
            return (optax.apply_updates(weights, update), state), None

        return jax.lax.scan(step, (weights, optimiser.init(weights)), jax.random.split(key, STEPS))[0][0]

    def stacked(trees: list[Any]) -> Any:
        return jax.tree.map(lambda *parts: jnp.asarray(np.stack(parts), np.asarray(parts[0]).dtype), *trees)

    begins = [single(start(data, sees_class, np.random.default_rng([data.split, 4]))) for data in datasets]
    keys = jax.vmap(jax.random.key)(jnp.array([data.split for data in datasets]))
    images = stacked([divided(data) for data in datasets])
    trained = run(stacked(begins), keys, images, jnp.array(weights_of_term, jnp.float32))
    return [
        jax.tree.map(lambda part, place=place: np.asarray(part[place], float), trained) for place in range(len(begins))
    ]


def divided(data: SemiSupervised) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images without a label and those with one, in float32, and their labels."""
    images, labels = labelled(data)
    unlabelled = np.delete(data.dataset.train, data.labelled, axis=0)
    return unlabelled.astype(np.float32), images.astype(np.float32), labels


def single(weights: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, np.ndarray]]:
    """The same in float32."""
    return {name: {key: value.astype(np.float32) for key, value in part.items()} for name, part in weights.items()}


def measured(data: SemiSupervised, weights: dict[str, Any], sees_class: bool = True) -> dict[str, float]:
    """Of the test images: both classifiers' accuracy, and the nats of the decoder and of the guide, means."""
    images, labels = data.dataset.test, data.dataset.test_labels
    decoder = ClassDecoder(Decoder(weights["decoder"]), data.n_classes)
    joint, _ = class_evidences(decoder, images)
    log_q = special.log_softmax(Decoder(weights["classifier"])(images), axis=1)
    bounds = bounds_by_class(decoder, weights["encoder"], images, sees_class, np.random.default_rng([data.split, 6]))
    log_p, q = special.log_softmax(joint, axis=1), np.exp(log_q)
    each = {
        "accuracy of q": log_q.argmax(axis=1) == labels,
        "accuracy of p": log_p.argmax(axis=1) == labels,
        "log p(x)": special.logsumexp(joint, axis=1),
        "log p(x, y)": joint[np.arange(len(labels)), labels],
        "KL of y": (q * (log_q - log_p)).sum(axis=1),
        "KL of z": (q * (joint - bounds)).sum(axis=1),
        "gap": special.logsumexp(joint, axis=1) - (q * (bounds - log_q)).sum(axis=1),
    }
    return {name: float(values.mean()) for name, values in each.items()}


def bounds_by_class(
    decoder: ClassDecoder,
    encoder: dict[str, np.ndarray],
    images: np.ndarray,
    sees_class: bool,
    rng: np.random.Generator,
) -> np.ndarray:
    """E_q(z | x, y)[log p(x, y, z) - log q(z | x, y)] of every image and class in nats, shape (n, classes)."""
    bounds = []
    for label, part in enumerate(decoder.by_class):
        known = np.broadcast_to(np.eye(decoder.n_classes)[label], (len(images), decoder.n_classes))
        rows = Decoder(encoder)(np.concatenate([images, known], axis=1) if sees_class else images)
        mean, log_sd = np.split(rows, 2, axis=1)
        eps = rng.standard_normal((DRAWS, *mean.shape))
        z = mean + np.exp(log_sd) * eps
        log_ratio = (0.5 * (eps**2 - z**2) + log_sd).sum(axis=-1)
        bounds.append((part.at(images, z)[0] + log_ratio).mean(axis=0) - np.log(decoder.n_classes))
    return np.stack(bounds, axis=1)


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation between splits."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"


def alphas(splits: int) -> None:
    """Both classifiers, the model and the guide by alpha, with 100 labels; in the last row q(z | x) does not see y."""
    datasets = [SemiSupervised(split=split) for split in range(splits)]
    kinds = [(f"{alpha:g} N", alpha, True) for alpha in ALPHAS] + [("1 N, encoder q(z given x)", 1.0, False)]
    rows: dict[str, list[dict[str, float]]] = {}
    for name, alpha, sees_class in kinds:
        trained = train(datasets, [alpha] * splits, sees_class)
        pairs = zip(datasets, trained, strict=True)
        rows[name] = [measured(data, weights, sees_class) for data, weights in pairs]
        print(f"{name} done", file=sys.stderr, flush=True)
    terms = list(rows[kinds[0][0]][0])
    print(f"| alpha | {' | '.join(terms)} |\n|{' --- |' * (len(terms) + 1)}")
    for name, scores in rows.items():
        print(f"| {name} | " + " | ".join(spread([score[term] for score in scores], 3) for term in terms) + " |")


def labels(splits: int, alpha: float = 1.0) -> None:
    """Accuracy by the number of labels: both classifiers of M2, and those that know no z."""
    rows: dict[str, Any] = defaultdict(lambda: defaultdict(list))
    for count in LABELS:
        datasets = [SemiSupervised(split=split, labels=count) for split in range(splits)]
        for data, weights in zip(datasets, train(datasets, [alpha] * splits), strict=True):
            known = measured(data, weights)
            rows["M2's classifier q(y given x)"][count].append(known["accuracy of q"])
            rows["M2's model p(y given x), exact"][count].append(known["accuracy of p"])
            for name, classify in CLASSIFIERS.items():
                right = classify(data).argmax(axis=1) == data.dataset.test_labels
                rows[name][count].append(float(right.mean()))
        print(f"{count} labels done", file=sys.stderr, flush=True)
    print(f"| accuracy with labels | {' | '.join(map(str, LABELS))} |\n|{' --- |' * (len(LABELS) + 1)}")
    for name, values in rows.items():
        print(f"| {name} | " + " | ".join(spread(values[count], 3) for count in LABELS) + " |")
    draw(rows)


Rows = dict[str, dict[str, float]]


def guides_of(split: int, families: tuple[str, ...] = ("mean_field",)) -> tuple[Rows, Rows]:
    """Of one split: each guide's numbers on one decoder, and each guide's model beside simpler ones, means."""
    data = SemiSupervised(split=split)
    kinds = [(library, family) for family in families for library in ("numpyro", "pyro")]

    def fitted(method: str, library: str, family: str, data: SemiSupervised) -> Fit:
        return fit(Job(method, "ssvae", data, method, library, family, split, Options(budget=3000.0)))

    trained = {kind: fitted("training", *kind, data) for kind in kinds}
    decoders = {kind: MODEL.amortization.with_decoder(data, weights_of(known)) for kind, known in trained.items()}
    first = decoders[kinds[0]]
    ledgers: Rows = {}
    for kind in kinds:
        tree = fitted("amortised", *kind, first).tree
        group, known = tree["test_set"], MODEL.amortization.held_out(first).values
        elbo, best = (group[name].values for name in ("elbo", "best_elbo"))
        ledgers["-".join(kind)] = {
            "ELBO": elbo.mean(),
            "family gap": (known - best).mean(),
            "amortisation gap": (best - elbo).mean(),
            "accuracy of E_q[p(y given x, z)]": MODEL.prediction.scores(first, tree)["accuracy"]["value"],
        }
    models: Rows = {}
    for kind, other in decoders.items():
        models["-".join(kind)] = {
            "log evidence": MODEL.amortization.held_out(other).values.mean(),
            "ELBO": trained[kind].tree["test_set"]["elbo"].values.mean(),
            "accuracy of p(y given x)": exact_predictions(other)["accuracy"]["value"],
        }
    densities = baselines.baselines(data.dataset) | MODEL.amortization.baselines(data)
    for name, classify in CLASSIFIERS.items():
        right = classify(data).argmax(axis=1) == data.dataset.test_labels
        models[name] = {"accuracy of p(y given x)": right.mean()}
    for name, values in densities.items():
        models.setdefault(name.partition(",")[0], {})["log evidence"] = values.mean()
    return ledgers, models


def guides(splits: int) -> None:
    """Both questions: the guides on one decoder, and the models that guides learn."""
    tables(guides_of(split) for split in range(splits))


def tables(pairs: Iterable[tuple[Rows, Rows]]) -> None:
    """Print what `guides_of` gave of each split; a model lacks what it does not say."""
    for title, splits in zip(("guide, on one decoder", "model"), zip(*pairs, strict=True), strict=True):
        columns = list(next(iter(splits[0].values())))
        print(f"\n| {title} | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
        for name, row in splits[0].items():
            cells = (spread([part[name][term] for part in splits], 3) if term in row else "" for term in columns)
            print(f"| {name} | {' | '.join(cells)} |")


def draw(rows: dict[str, dict[int, list[float]]]) -> None:
    """The picture: accuracy against labels with bars of one sd between splits."""
    from models.plotting import CLASS_COLORS, new_figure, save, style

    with style():
        figure = new_figure(7.5, 4.6)
        axes = figure.subplots()
        for place, (name, values) in enumerate(rows.items()):
            means, sds = ([f(values[count]) for count in LABELS] for f in (np.mean, partial(np.std, ddof=1)))
            shifted = np.array(LABELS) * 1.03 ** (place - 2.5)
            look = {"lw": 2.4} if "M2" in name else {"lw": 1.2, "ls": "--"}
            axes.errorbar(shifted, means, sds, label=name, color=CLASS_COLORS[place], capsize=2, **look)
        axes.set(xscale="log", xlabel="labels", ylabel="accuracy on 180 test images", ylim=(0.45, 1))
        axes.set_xticks(LABELS, list(map(str, LABELS)))
        axes.legend(loc="lower right")
        save(figure, PICTURE)


if __name__ == "__main__":
    {"alphas": alphas, "labels": labels, "guides": guides}[sys.argv[1]](int(sys.argv[2]) if len(sys.argv) > 2 else 3)
