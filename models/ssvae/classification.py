"""Which class a test image is of: by the exact p(y | x), by draws from a guide, and by classifiers that know no z.

A guide for z alone says of y what the model says given its draws: q(y | x) = E_q[p(y | x, z)], where p(y | x, z) is
p(x | y, z) over its sum. All classifiers see the same binary pixels and the same labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from models.contract import Latents, Scores
from models.ssvae.data import SemiSupervised, with_possible
from models.ssvae.decoder import ClassDecoder
from models.ssvae.exact import class_posteriors

if TYPE_CHECKING:
    import xarray as xr

BLOCKS = 16
"""Blocks of draws that a jackknife leaves out one by one."""


def queries(data: SemiSupervised) -> np.ndarray:
    """The observations whose posteriors are wanted: all test images, without a label."""
    return with_possible(data.dataset.test, data.n_classes)


def predict(data: SemiSupervised, latents: Latents) -> None:
    """No pixels are predicted."""


def class_probabilities(decoder: ClassDecoder, images: np.ndarray, z: np.ndarray) -> np.ndarray:
    """p(y | x, z) of images, shape (n, pixels), each at its own z, (draws, n, latent): (draws, n, classes)."""
    values = np.stack([part.at(images, z)[0] for part in decoder.by_class], axis=-1)
    return special.softmax(values, axis=-1)


def exact_predictions(data: SemiSupervised) -> Scores:
    """How the exact p(y | x) classifies the test images."""
    return scored(class_posteriors(data.network, data.dataset.test), truth(data))


def scores(data: SemiSupervised, tree: xr.DataTree) -> Scores:
    """How a fit's draws of every test image's z classify it; nothing of a fit that has none."""
    if "queries" not in tree:
        return {}
    z = tree["queries"].dataset["z"].values
    return jackknifed(class_probabilities(data.network, data.dataset.test, z), truth(data))


def truth(data: SemiSupervised) -> np.ndarray:
    """The test images' classes, shape (n,)."""
    labels = data.dataset.test_labels
    assert labels is not None
    return labels


def scored(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Accuracy and mean log probability of the right class, in nats, of probabilities (n, classes)."""
    right = (probabilities.argmax(axis=1) == labels).astype(float)
    with np.errstate(divide="ignore"):
        logs = np.log(probabilities[np.arange(len(labels)), labels])
    each = {"log_density": logs, "accuracy": right}
    return {
        name: {"value": float(values.mean()), "mcse": 0.0, "sampling": float(values.std(ddof=1) / len(values) ** 0.5)}
        for name, values in each.items()
        if np.isfinite(values).all()
    }


def jackknifed(probabilities: np.ndarray, labels: np.ndarray) -> Scores:
    """The scores of the mean over independent draws, (draws, n, classes), with the error that their number makes.

    A score that some blocks of draws do not have, as their mean is 0 for a right class, is left out.
    """
    whole_scores = scored(probabilities.mean(axis=0), labels)
    parts = np.array_split(probabilities, BLOCKS)
    total = probabilities.sum(axis=0)
    left = [scored((total - part.sum(axis=0)) / (len(probabilities) - len(part)), labels) for part in parts]
    always = [name for name in whole_scores if all(name in other for other in left)]
    for name in always:
        values = np.array([other[name]["value"] for other in left], dtype=float)
        whole_scores[name]["mcse"] = float(np.sqrt((BLOCKS - 1) * values.var()))
    return {name: whole_scores[name] for name in always}


def baselines(data: SemiSupervised) -> dict[str, Scores]:
    """The scores of `CLASSIFIERS` by name."""
    return {name: scored(classify(data), truth(data)) for name, classify in CLASSIFIERS.items()}


def labelled(data: SemiSupervised) -> tuple[np.ndarray, np.ndarray]:
    """The images with a label, shape (labels, pixels), and their labels."""
    labels = data.dataset.train_labels
    assert labels is not None
    return data.dataset.train[data.labelled], labels[data.labelled]


def predicted(classifier: Any, data: SemiSupervised) -> np.ndarray:
    """What scikit-learn's classifier, given the labelled images alone, says of the test images, (n, classes)."""
    return classifier.fit(*labelled(data)).predict_proba(data.dataset.test)


def naive_bayes(data: SemiSupervised) -> np.ndarray:
    """The same model without z: pixels that are independent given the class, smoothed by Beta(1, 1)."""
    from sklearn.naive_bayes import BernoulliNB

    return predicted(BernoulliNB(fit_prior=False), data)


def naive_bayes_evidences(data: SemiSupervised) -> np.ndarray:
    """Its log density of every test image, in nats, shape (n,)."""
    from sklearn.naive_bayes import BernoulliNB

    known = BernoulliNB(fit_prior=False).fit(*labelled(data))
    return special.logsumexp(known.predict_joint_log_proba(data.dataset.test), axis=1)


def logistic_regression(data: SemiSupervised) -> np.ndarray:
    """With scikit-learn's default penalty, a standard normal prior."""
    from sklearn.linear_model import LogisticRegression

    return predicted(LogisticRegression(max_iter=2000), data)


def nearest_neighbour(data: SemiSupervised) -> np.ndarray:
    """The class of the labelled image that differs in the fewest pixels."""
    from sklearn.neighbors import KNeighborsClassifier

    return predicted(KNeighborsClassifier(1), data)


def label_propagation(data: SemiSupervised) -> np.ndarray:
    """Labels spread over the graph of the seven nearest training images, labelled or not (Zhou et al. 2004); every
    class is as probable for an image that none reaches."""
    from sklearn.semi_supervised import LabelSpreading

    images, labels = data.dataset.train, np.full(len(data.dataset.train), -1)
    labels[data.labelled] = labelled(data)[1]
    with np.errstate(invalid="ignore"):
        known = LabelSpreading(kernel="knn", n_neighbors=7).fit(images, labels).predict_proba(data.dataset.test)
    return np.nan_to_num(known, nan=1 / known.shape[1])


CLASSIFIERS: dict[str, Callable[[SemiSupervised], np.ndarray]] = {
    "naive Bayes": naive_bayes,
    "logistic regression": logistic_regression,
    "nearest neighbour": nearest_neighbour,
    "label propagation": label_propagation,
}
"""What the model must beat: from the data to probabilities of the test images' classes, shape (n, classes)."""
