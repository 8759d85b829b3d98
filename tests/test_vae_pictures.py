"""The autoencoder's pictures: the numbers behind them against cases made by hand, and that all are drawn."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr
from matplotlib.image import imread
from scipy import stats

from models.decoder import Decoder
from models.drawing import contour_levels, draw_images, tile
from models.image_posteriors import posteriors
from models.images import Images
from models.plotting import list_fits, one_per_family, style
from models.vae import tasks
from models.vae.gaps import estimate_gap, estimate_gaps
from models.vae.pictures import PICTURES
from models.vae.planes import choose_images, grid_over, plane, window_of

SHAPE = (3, 2)
SHOWN = np.array([4, 0, 9])


def some_data(task: str = "compare", latent: int = 2, labels: bool = True) -> SimpleNamespace:
    """Twelve test images of 3 by 2 pixels, in three classes, of which three are shown, and a decoder."""
    rng = np.random.default_rng(0)
    shapes = {"output_weights": (latent, 6), "output_biases": (6,)}
    parts = [rng.integers(0, 2, (count, 6)).astype(float) for count in (40, 20, 12)]
    classes = [rng.integers(0, 3, len(part)) for part in parts] if labels else [None] * 3
    classes[2] = np.arange(12) % 3 if labels else None
    network = Decoder({name: 2 * rng.standard_normal(shape) for name, shape in shapes.items()})
    images = Images(*parts, SHAPE, *classes)
    return SimpleNamespace(
        dataset=images, network=network, task=task, latent=latent, split=0, shown=SHOWN, pixels="binary"
    )  # fmt: skip


def a_fit(data: SimpleNamespace, seed: int = 0) -> xr.DataTree:
    """A fit whose guide and whose family's best member are Gaussians near the posterior."""
    rng = np.random.default_rng(seed)
    images, latent = data.dataset.test, data.network.latent
    z = rng.standard_normal((2, 20, len(SHOWN), latent))
    evidence = posteriors(data.network, images).log_evidences if latent <= 2 else np.full(len(images), -4.0)
    best = evidence - rng.gamma(1.0, 0.1, len(images))
    elbo = best - rng.gamma(1.0, 0.3, len(images))
    error = np.full(len(images), 0.01)
    bounds = {"elbo": elbo, "elbo_mcse": error, "best_elbo": best, "best_elbo_mcse": error}
    groups = {
        "posterior": xr.Dataset({"z": (("chain", "draw", "z_dim_0", "z_dim_1"), z)}),
        "test_set": xr.Dataset({name: ("observation", values) for name, values in bounds.items()}),
    }
    if latent == 2:
        line = np.tile(np.linspace(-4, 4, 81), (len(SHOWN), 1))
        grid = np.stack(np.meshgrid(line[0], line[0], indexing="ij"), axis=-1)
        densities = [stats.multivariate_normal([0.3, shift], [1.0, 0.5]).logpdf(grid) for shift in (0.0, 0.5)]
        wide = {name: (("observation", "across"), line) for name in ("first", "second")}
        names = ("observation", "across", "up")
        for name, density in zip(("log_guide", "best_log_guide"), densities, strict=True):
            wide[name] = (names, np.tile(density, (len(SHOWN), 1, 1)))
        groups["window"] = xr.Dataset(wide)
    if tasks.queries(data) is not None:
        drawn = rng.standard_normal((32, len(images), latent))
        groups["queries"] = xr.Dataset({"z": (("draw", "query", "latent"), drawn)})
    return xr.DataTree.from_dict(groups)


def test_numpyro_stands_for_a_family_and_only_fits_with_the_group_are_shown():
    data = some_data()
    names = ["pyro-flow", "pyro-mean_field", "numpyro-mean_field", "numpyro-strange", "exact"]
    fits = {name: a_fit(data) for name in names} | {"numpyro-nuts": xr.DataTree()}
    assert [fit.name for fit in list_fits(fits)] == [
        "numpyro-mean_field",
        "pyro-mean_field",
        "pyro-flow",
        "numpyro-strange",
    ]
    chosen = one_per_family(fits, "window")
    assert [fit.name for fit in chosen] == ["numpyro-mean_field", "pyro-flow", "numpyro-strange"]
    assert len({fit.color for fit in chosen}) == 3
    assert list_fits(fits)[0].color == list_fits(fits)[1].color and list_fits(fits)[0].line != list_fits(fits)[1].line
    assert list_fits(fits, "queries") == []


def test_contours_hold_the_mass_they_say():
    """Of a Gaussian in the plane the region of mass m is where the squared radius is below -2 log(1 - m)."""
    line = np.linspace(-6, 6, 801)
    density = stats.norm.logpdf(line)[:, None] + stats.norm.logpdf(line)
    levels = contour_levels(density, (0.5, 0.95))
    exact = [-np.log(2 * np.pi) + np.log(1 - mass) for mass in (0.95, 0.5)]
    assert levels == pytest.approx(exact, abs=0.01)
    assert contour_levels(density - 1000, (0.5,))[0] == pytest.approx(exact[1] - 1000, abs=0.01)


def test_images_are_tiled_row_by_row():
    images = np.arange(18.0).reshape(3, 6)
    sheet = tile(images, SHAPE, 2)
    assert sheet.shape == (7, 5)
    assert np.array_equal(sheet[:3, :2], images[0].reshape(SHAPE)) and np.array_equal(
        sheet[4:, :2], images[2].reshape(SHAPE)
    )
    assert np.isnan(sheet[3]).all() and np.isnan(sheet[:, 2]).all() and np.isnan(sheet[4:, 3:]).all()


def test_an_image_stands_upright_in_its_place():
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    images = np.arange(24.0).reshape(4, 6) / 24
    draw_images(axes, [images[:2], images[2:]], SHAPE, 2.0)
    last = axes.images[-1]
    assert last.get_extent() == [1.08, 2.08, -2.0, -0.5] and last.origin == "upper"
    assert np.array_equal(last.get_array(), images[3].reshape(SHAPE))


def test_gaps_are_means_with_both_errors():
    gap = estimate_gap(np.array([1.0, 3.0]), np.array([0.5, 1.0]), np.array([0.3, 0.4]), np.array([0.0, 1.2]))
    assert gap.values.tolist() == [0.5, 2.0] and gap.mean == 1.25
    assert gap.mcse == pytest.approx(np.sqrt(0.09 + 0.16 + 1.44) / 2)
    assert gap.sampling == pytest.approx(0.75)


def test_the_gaps_add_up_to_the_evidence_gap():
    data = some_data()
    fits = {"pyro-flow": a_fit(data)}
    kinds = estimate_gaps(fits, data)
    total = sum(rows[0][1].values for rows in kinds.values())
    evidence = posteriors(data.network, data.dataset.test).log_evidences
    assert list(kinds) == ["family gap", "amortisation gap"]
    assert total == pytest.approx(evidence - fits["pyro-flow"]["test_set"]["elbo"].values)
    many = some_data(latent=3)
    assert list(estimate_gaps({"pyro-flow": a_fit(many)}, many)) == ["amortisation gap"]


def test_the_images_looked_at_are_those_mean_field_gets_most_wrong():
    data = some_data()
    exact = posteriors(data.network, data.dataset.test[SHOWN])
    fits = {"numpyro-mean_field": a_fit(data), "numpyro-flow": a_fit(data, 1)}
    bounds = fits["numpyro-mean_field"]["test_set"]
    for place, (family, amortisation) in enumerate([(0.1, 0.9), (0.5, 0.1), (0.2, 0.1)]):
        bounds["best_elbo"].values[SHOWN[place]] = exact.log_evidences[place] - family
        bounds["elbo"].values[SHOWN[place]] = exact.log_evidences[place] - family - amortisation
    chosen = choose_images(fits, data, exact)
    assert [place for place, _ in chosen] == [1, 0, 2]
    assert "the largest\nfamily gap" in chosen[0][1] and "the largest\namortisation gap" in chosen[1][1]
    assert all("mean field" in why for _, why in chosen)
    bounds["elbo"].values[SHOWN] = bounds["best_elbo"].values[SHOWN] - [0.1, 0.9, 0.2]  # now one image has both
    assert [(place, why.split("\n")[0]) for place, why in choose_images(fits, data, exact)][:2] == [
        (1, "the largest"),
        (2, "the next largest"),
    ]
    assert choose_images({}, data, exact) == []


def test_what_is_seen_holds_every_contour():
    data = some_data()
    exact = posteriors(data.network, data.dataset.test[SHOWN])
    (fit,) = list_fits({"numpyro-flow": a_fit(data)}, "window")
    first, second, density = grid_over([window_of(fit, 0)], exact, 0)
    # The guides are Gaussians of variance 1 and 0.5 at (0.3, 0) and (0.3, 0.5): 95% lies within 2.45 sds.
    assert first[0] < 0.3 - 2.4 and first[-1] > 0.3 + 2.4
    assert second[0] < -2.4 * np.sqrt(0.5) and second[-1] > 0.5 + 2.4 * np.sqrt(0.5)
    point = np.array([[first[3], second[70]]])
    assert density[3, 70] == pytest.approx(exact.log_density(np.tile(point, (3, 1, 1)))[0, 0])


def test_the_first_row_of_posteriors_names_the_fits(monkeypatch):
    figures = []
    monkeypatch.setattr("models.vae.planes.save", lambda figure, path: figures.append(figure))
    data, names = some_data(), ["numpyro-mean_field", "numpyro-flow"]
    with style():
        plane({name: a_fit(data) for name in names}, data, posteriors(data.network, data.dataset.test[SHOWN]), Path())
        titles = [axes.get_title(loc="left") for axes in figures[0].axes]
    assert [title.split("\n")[0] for title in titles[1:3]] == names
    assert not any(name in title for title in titles[3:] for name in names)


# All of them are drawn

STANDARD = ["plane", "latent", "reconstructions", "gaps"]
KINDS = {
    "compare": (some_data(), STANDARD),
    "no labels": (some_data(labels=False), STANDARD),
    "one latent": (some_data(latent=1), ["reconstructions", "gaps"]),
    "three latents": (some_data(latent=3), ["reconstructions", "gaps"]),
    "reconstruct": (some_data("reconstruct"), ["answers"]),
    "denoise": (some_data("denoise"), ["answers"]),
    "inpaint": (some_data("inpaint"), ["answers"]),
    "inpaint, three latents": (some_data("inpaint", 3), ["answers"]),
    "generate": (some_data("generate"), ["generated"]),
    "generate, three latents": (some_data("generate", 3), ["generated"]),
    "interpolate": (some_data("interpolate"), ["interpolated"]),
    "compress": (some_data("compress"), ["compressed"]),
    "compress, three latents": (some_data("compress", 3), ["compressed"]),
}
CHOICES = {
    "both libraries": ["exact", "numpyro-mean_field", "pyro-mean_field", "pyro-flow", "numpyro-nuts"],
    "one fit": ["pyro-strange"],
    "nothing": [],
}
EVERY = [(kind, "both libraries") for kind in KINDS] + [
    (kind, choice) for kind in ("compare", "denoise", "compress") for choice in ("one fit", "nothing")
]


@pytest.mark.parametrize(("kind", "choice"), EVERY)
def test_each_picture_is_drawn_of_whatever_was_fitted(kind: str, choice: str, tmp_path: Path):
    data, names = KINDS[kind]
    fits = {}
    for seed, name in enumerate(CHOICES[choice]):
        fits[name] = a_fit(data, seed)
        if name in ("exact", "numpyro-nuts"):
            fits[name] = xr.DataTree.from_dict({"posterior": fits[name]["posterior"].dataset})
    exact = posteriors(data.network, data.dataset.test[SHOWN]) if data.network.latent <= 2 else None
    some = [picture for picture in PICTURES if picture.applies(data)]
    assert [picture.name for picture in some] == names
    for picture in some:
        path = tmp_path / f"{picture.name}.png"
        with style():
            picture.draw(fits, data, exact, path)
        image = imread(path)[::5, ::5]
        assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > 10
        assert len(picture.caption) > 100


def test_pictures_cross_processes_and_need_a_decoder():
    assert [picture.name for picture in pickle.loads(pickle.dumps(PICTURES))] == [picture.name for picture in PICTURES]
    untrained = some_data()
    untrained.network = None
    assert not any(picture.applies(untrained) for picture in PICTURES)
