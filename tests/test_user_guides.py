"""What users bring beside a model: guides of their own, params that they trained, draws from anywhere."""

from __future__ import annotations

import copy
import json
import math
import re
from importlib import import_module

import arviz_base
import numpy as np
import pytest
from conftest import IN_NUMPYRO, IN_PYRO, LIBRARIES
from scipy import optimize, stats

from compare import check, compare, fit_guide, user_model
from compare.cli.main import main
from compare.fit.tree import Draws
from compare.options import Options
from compare.user_model.draws import arrays_of, cut
from compare.user_model.given_params import params_in
from compare.user_model.guides import UserGuide
from compare.user_model.process import undisturbed

X = np.random.default_rng(0).normal(size=(12, 2)) @ np.array([[1.0, 0.7], [0.0, 0.7]])
DATA = {"x": X, "y": X @ [1.0, -0.5] + 0.5 * np.random.default_rng(1).normal(size=12)}
COUNTS = {"y": np.array([3, 1, 4, 1, 5, 9, 2, 6])}

PAIRS = {"y": np.random.default_rng(5).multivariate_normal(np.zeros(2), [[1.0, 0.6], [0.6, 1.0]], 15)}

PRECISION = np.eye(2) + X.T @ X / 0.25
MEAN, COVARIANCE = np.linalg.solve(PRECISION, X.T @ DATA["y"] / 0.25), np.linalg.inv(PRECISION)
MEAN_FIELD_GAP = 0.5 * (np.log(np.diag(PRECISION)).sum() - np.linalg.slogdet(PRECISION)[1])
"""KL of the best independent Gaussians, whose precisions are the diagonal's, in nats."""


def written(library: str):
    """The models and guides in one library."""
    return import_module(f"tests.user_models.guides_{library}")


def short_of(loc: np.ndarray, scale: np.ndarray) -> float:
    """ELBO(q*) - ELBO(q) in nats of independent Gaussians q for the line."""
    best = 1 / np.sqrt(np.diag(PRECISION))
    ratio = (scale / best) ** 2
    return float(0.5 * (loc - MEAN) @ PRECISION @ (loc - MEAN) + 0.5 * np.sum(ratio - 1 - np.log(ratio)))


def gap_of(fit: dict) -> tuple[float, float]:
    """The estimated optimisation gap and its error, in nats."""
    return fit["optimisation"]["gap"]["value"], fit["optimisation"]["gap"]["mcse"]


@pytest.mark.parametrize("library", IN_PYRO)
def test_guides_of_every_form_reach_the_best_of_their_families(library):
    """Functions, an autoguide and a class, mixed with a name, by the zoo's optimiser, to the gap in closed form."""
    side = written(library)
    names = ("renamed", "amortised", "late", "AutoNormal", "AutoLowRankMultivariateNormal", "AutoDelta")
    mixed = [side.renamed, side.amortised, side.late, side.AUTOGUIDE(side.line), side.LOW_RANK, side.POINT]
    result = compare(side.line, DATA, guides=["mean_field", *mixed], nuts=False)
    fits = result.summary["fits"]
    assert list(fits) == ["exact", *(f"{library}-{name}" for name in ("mean_field", *names))]
    for name, gap in {**dict.fromkeys(names[:4], MEAN_FIELD_GAP), names[4]: 0.0}.items():
        fit = fits[f"{library}-{name}"]
        assert fit["status"] == "done" and fit["optimisation"]["converged"], (name, fit["reason"], fit["optimisation"])
        evidence_gap = fit["ledger"]["evidence_gap"]
        assert abs(evidence_gap["value"] - gap) < 4 * evidence_gap["mcse"] + Options().tolerance, (
            name,
            evidence_gap,
            gap,
        )
    assert result.verdict[f"{library}-{names[4]}"].word == "agrees"
    point = fits[f"{library}-AutoDelta"]
    assert point["verdict"]["word"] == "narrow" and point["ledger"]["elbo"] is None
    assert np.allclose([point["variables"][f"b[{i}]"]["mean"] for i in (0, 1)], MEAN, atol=1e-6)


@pytest.mark.parametrize(("count", "n_draws"), [(4, 4096), (0, 8 * 4096)])
def test_a_guide_with_heavy_tails_is_drawn_from_more_often(count, n_draws):
    """Log-normals whose logarithm has an sd of 0.17 (kurtosis 3.5) and of 0.71 (kurtosis 22)."""
    result = compare(written("numpyro").counts, {"y": np.full(8 if count else 1, count)}, nuts=False)
    rate = result.tree["numpyro-mean_field/posterior"]["rate"]
    assert rate.size == result.tree["numpyro-mean_field/sample_stats"]["log_guide"].size == n_draws


def test_rounding_is_no_heavy_tail():
    """As of a deterministic site that is the sum of a simplex: 1, or in one draw of 100 the next number."""
    draws, rng = Draws(None), np.random.default_rng(0)
    total = 1 + np.finfo(float).eps * (np.arange(4000) % 100 == 0)
    draws.blocks.append(({"z": rng.normal(size=(4000, 2)), "total": total}, {}))
    assert abs(draws.largest_kurtosis() - 3) < 6 * np.sqrt(24 / 4000)
    draws.blocks = [({"total": total}, {})]
    assert draws.largest_kurtosis() == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_low_rank_normal_of_each_row_of_a_plate_is_fed(library):
    """Draws are linear in what feeds them: location, and a root of the covariance F F' + D for each row by itself."""
    base = import_module(f"compare.fit.svi.base_{library}")
    make = np.asarray if library == "numpyro" else import_module("torch").tensor
    low_rank = import_module(f"{library}.distributions").LowRankMultivariateNormal
    loc, factor, diagonal = np.array([1.0, -2.0]), np.array([[0.5], [-1.5]]), np.array([0.3, 2.0])
    fn = low_rank(*map(make, (loc, factor, diagonal))).expand((3,))
    assert base.columns(fn) == 9
    draws = np.array([np.asarray(base.from_base(fn, make(eps))) for eps in np.vstack([np.zeros(9), np.eye(9)])])
    np.testing.assert_allclose(draws[0], np.tile(loc, (3, 1)), rtol=1e-6)
    root = (draws[1:] - draws[0]).reshape(9, 6)
    covariance = np.kron(np.eye(3), factor @ factor.T + np.diag(diagonal))
    np.testing.assert_allclose(root.T @ root, covariance, rtol=1e-5, atol=1e-5)


def correlation_joint(u, y):
    """log p(y, u) in nats of `pairs` at u = atanh(correlation): an LKJ prior of concentration 2 is (1 - r^2) 3/4."""
    r = np.tanh(u)
    squares = np.sum(y[:, 0] ** 2 + y[:, 1] ** 2) - 2 * r * np.sum(y[:, 0] * y[:, 1])
    fit = -len(y) * (np.log(2 * np.pi) + 0.5 * np.log1p(-(r**2))) - 0.5 * squares / (1 - r**2)
    return fit + np.log(0.75) + 2 * np.log1p(-(r**2))


@pytest.mark.parametrize("library", IN_PYRO)
def test_a_guide_of_a_cholesky_factor_reaches_the_best_of_its_family(library):
    """The ELBO of a Normal on atanh(correlation), and its mean correlation, by the trapezoid rule."""
    side, y = written(library), PAIRS["y"]
    nodes = np.linspace(-8, 8, 4001)
    weights = np.exp(-0.5 * nodes**2) / np.exp(-0.5 * nodes**2).sum()

    def elbo(free):
        loc, scale = free[0], np.exp(free[1])
        return weights @ correlation_joint(loc + scale * nodes, y) + free[1] + 0.5 * np.log(2 * np.pi * np.e)

    best = optimize.minimize(lambda free: -elbo(free), [0.5, -1.0])
    fit = fit_guide(side.pairs, PAIRS, side.of_factor, budget=600.0)
    assert fit.optimisation.converged
    assert abs(fit.elbo.value + best.fun) < 4 * fit.elbo.mcse + Options().tolerance
    drawn = np.tanh(best.x[0] + np.exp(best.x[1]) * nodes)
    mean = weights @ drawn
    sd = np.sqrt(weights @ (drawn - mean) ** 2)
    correlations = fit.draws["factor"].values[..., 1, 0]
    assert abs(correlations.mean() - mean) < 4 * sd / np.sqrt(correlations.size) + 0.15 * sd  # gaps below 0.01 nats


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_guide_under_a_subsampled_plate_is_that_of_all_rows(library):
    """It holds the posterior, so that its ELBO is the evidence; one that scales twice is refused in one line."""
    side, y = written(library), np.array([0.3, -1.2, 2.0, 0.5, -0.4])
    best = fit_guide(side.batches, {"y": y}, side.of_batches, budget=600.0)
    assert abs(best.elbo.value - stats.norm(0, 2**0.5).logpdf(y).sum()) < 4 * best.elbo.mcse + Options().tolerance
    assert np.abs(best.params["loc"] - y / 2).max() < 0.15  # gaps below 0.01 nats
    with pytest.raises(ValueError, match=r"site 'z' is scaled by 2.5, in the model by 1; put it into the same plates$"):
        fit_guide(side.batches, {"y": y}, side.of_scaled_batches)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_guide_that_fixed_draws_cannot_feed_is_fitted_by_the_library(library):
    """A Gamma: Adam with a falling rate, which stops by itself, reaches the posterior; its own gap is not known."""
    side = written(library)
    result = compare(side.counts, COUNTS, guides=[side.gamma], nuts=False)
    fit = result.summary["fits"][f"{library}-gamma"]
    assert fit["optimisation"]["converged"] and fit["optimisation"]["gap"] is None
    gap = fit["ledger"]["evidence_gap"]
    assert abs(gap["value"]) < 4 * gap["mcse"] + Options().tolerance
    assert result.verdict[f"{library}-gamma"].word == "agrees"


@pytest.mark.parametrize("library", IN_NUMPYRO)
def test_given_params_are_judged_as_they_are(library):
    """The distance to q*, in closed form, at params that were stopped early, and at q* itself; float32 is named."""
    side = written(library)
    best = {"loc": MEAN, "scale": 1 / np.sqrt(np.diag(PRECISION))}
    early = {"loc": (MEAN + 0.05).astype(np.float32), "scale": np.array([0.3, 0.2], np.float32)}
    value, mcse = gap_of(check(side.line, DATA, guide=side.late, params=early).summary["fits"][f"{library}-late"])
    assert abs(value - short_of(early["loc"], early["scale"])) < 4 * mcse + 1e-6
    for params, word in ((early, "not converged"), (best, None)):
        result = check(side.line, DATA, guide=side.by_hand, params=params)
        fit = result.summary["fits"][f"{library}-by_hand"]
        value, mcse = gap_of(fit)
        assert abs(value - short_of(params["loc"], params["scale"])) < 4 * mcse + 1e-6
        assert any("float32" in note for note in result.comparison.notes) == (params is early)
        if word:
            assert result.verdict[f"{library}-by_hand"].word == word
            assert np.allclose(fit["variables"]["b[0]"]["sd"], 0.3, atol=4 * fit["variables"]["b[0]"]["mcse_sd"])
        else:
            assert fit["optimisation"]["converged"]


@pytest.mark.parametrize("library", ["numpyro", pytest.param("pyro", marks=pytest.mark.slow)])
def test_a_guide_without_params_is_its_familys_only_member(library):
    side, name = written(library), f"{library}-settled"
    for result in (
        check(side.line, DATA, guide=side.settled, params={}),
        compare(side.line, DATA, guides=[side.settled]),
    ):
        fit = result.summary["fits"][name]
        assert fit["status"] == "done" and gap_of(fit) == (0.0, 0.0)
        gap = fit["ledger"]["evidence_gap"]
        far = MEAN_FIELD_GAP + short_of(np.array([0.9, -0.4]), np.array([0.3, 0.2]))
        assert abs(gap["value"] - far) < 4 * gap["mcse"]


def masking_guides(library: str):
    """A model of two latents, one element masked out, and guides of it that mask densities, in one library."""
    module, dist = import_module(library), import_module(f"{library}.distributions")
    handlers = import_module("numpyro.handlers" if library == "numpyro" else "pyro.poutine")
    number = np.asarray if library == "numpyro" else import_module("torch").tensor
    there, auxiliary = number([True, False]), {"is_auxiliary": True}

    def model(y):
        z = module.sample("z", dist.Normal(number([0.0, 0.0]), 1.0).mask(there).to_event(1))
        module.sample("y", dist.Normal(z[0], 1.0), obs=y)

    def normal():
        return dist.Normal(module.param("loc", number([0.0, 0.0])), 1.0)

    def own_mask(y):
        raw = module.sample("raw", normal().mask(False).to_event(1), infer=auxiliary)
        module.sample("z", dist.Delta(raw, event_dim=1))

    def handled(y):
        with handlers.mask(mask=False):
            raw = module.sample("raw", normal().to_event(1), infer=auxiliary)
        module.sample("z", dist.Normal(raw, 0.5).to_event(1))

    def half(y):
        module.sample("z", normal().mask(there).to_event(1))

    def by_hand(y):
        raw = module.sample("raw", normal().mask(False).to_event(1), infer=auxiliary)
        module.sample("z", dist.Delta(raw, log_density=normal().log_prob(raw).sum(), event_dim=1))

    def unmasked(y):
        raw = module.sample("raw", normal().to_event(1), infer=auxiliary)
        module.sample("z", dist.Delta(raw, event_dim=1))

    return model, {"raw": [own_mask, handled], "z": [half]}, [by_hand, unmasked]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_guide_that_masks_its_density_is_refused_in_one_line(library):
    """Its ELBO would lack E_q[log q] of what is masked. One that counts the density elsewhere has the right ELBO: with
    locations 0.5 and 0 and sd 1, log N(1; 0, 2) - KL(N(0.5, 1), N(0.5, 1/2)) = -1/4 - log(4 pi) / 2 - (1 - log 2) / 2.
    The model's own mask stands behind `to_event`: what it masks out has its prior, not a flat one.
    """
    model, refused, right = masking_guides(library)
    params = {"loc": np.array([0.5, 0.0])}
    for site, guides in refused.items():
        for guide in guides:
            with pytest.raises(ValueError, match=f"the density of site '{site}' is masked out") as refusal:
                check(model, {"y": 1.0}, guide=guide, params=params)
            assert "\n" not in str(refusal.value)
    own = user_model.register(model, library)
    fitter = import_module(f"compare.fit.svi.user_guide_{library}")
    with undisturbed(library):
        values = user_model.data_of(own, {"y": 1.0}).values
        data, _ = fitter.split_arguments(values)
        for guide in right:
            with fitter.prepare(own, UserGuide("own", guide, params), values, 0) as objective:
                draws = np.random.default_rng(0).standard_normal((512, objective.dimension))
                ratios = objective.evaluate(objective.start(0, data), draws, data).log_ratio
            elbo = -0.25 - 0.5 * np.log(4 * np.pi) - 0.5 * (1 - np.log(2))
            assert abs(ratios.mean() - elbo) < 4 * ratios.std() / np.sqrt(ratios.size)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_guide_that_counts_another_density_than_its_own_is_refused(library):
    """Its ELBO may exceed the evidence: by log 4 at the first scale of 1/2, where the Jacobian counts twice."""
    side = written(library)
    params = {"loc": np.zeros(2), "scale": np.full(2, 0.5)}
    for guide, times in ((side.without_jacobian, 0), (side.twice_the_jacobian, 2)):
        result = check(side.line, DATA, guide=guide, params=params)
        fit = result.comparison.summaries[f"{library}-{guide.__name__}"]
        assert fit.status == "failed" and "\n" not in fit.reason
        counted, true = map(float, re.search(r"log q = (\S+) nats .* density is (\S+):", fit.reason).groups())
        assert counted - true == pytest.approx((times - 1) * np.log(4), abs=2e-3)
    with pytest.raises(ValueError, match=r"draws 2 auxiliary numbers \(mean\) and makes latents of 0") as refusal:
        check(side.line, DATA, guide=side.integrated, params={"loc": np.zeros(2)})
    assert "\n" not in str(refusal.value)


def test_pyro_takes_the_params_of_its_store():
    """An autoguide that its user trained, and a function whose params are in the store; both stay as they are."""
    import pyro
    import torch

    side = written("pyro")
    pyro.clear_param_store()
    with pytest.raises(ValueError, match="param store is empty"):
        check(side.line, DATA, guide=side.by_hand)
    pyro.param("loc", torch.tensor([0.0, 0.0]))
    pyro.param("scale", torch.tensor([0.5, 0.5]), constraint=pyro.distributions.constraints.positive)
    guide = side.AUTOGUIDE(side.line, init_scale=0.5)
    guide(**{name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in DATA.items()})
    own_model = guide.model
    before = {name: value.detach().clone() for name, value in pyro.get_param_store().items()}
    result = check(side.line, DATA, guide=side.by_hand)
    value, mcse = gap_of(result.summary["fits"]["pyro-by_hand"])
    assert abs(value - short_of(np.zeros(2), np.full(2, 0.5))) < 4 * mcse
    value, mcse = gap_of(check(side.line, DATA, guide=guide).summary["fits"]["pyro-AutoNormal"])
    loc = before["AutoNormal.locs.b"].numpy()
    assert abs(value - short_of(loc, np.full(2, 0.5))) < 4 * mcse
    after = dict(pyro.get_param_store().items())
    assert guide.model is own_model and list(after) == list(before)
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    pyro.clear_param_store()


def test_a_param_outside_its_constraint_is_refused_in_pyro_too():
    side = written("pyro")
    with pytest.raises(ValueError, match=r"'scale' lies outside its constraint \(positive\): -1$"):
        check(side.line, DATA, guide=side.by_hand, params={"loc": np.zeros(2), "scale": np.array([1.0, -1.0])})
    with pytest.raises(ValueError, match="'loc' is not finite"):
        check(side.line, DATA, guide=side.by_hand, params={"loc": np.full(2, np.nan), "scale": np.ones(2)})
    with pytest.raises(ValueError, match="another guide's"):
        check(side.line, DATA, guide=side.by_hand, params={"loc": np.zeros(2)})


def test_numpyros_svi_object_brings_its_guide():
    """With the result of a run, and with its state; an autoguide's params in float32."""
    import jax
    import numpyro

    side = written("numpyro")
    svi = numpyro.infer.SVI(side.line, side.AUTOGUIDE(side.line), numpyro.optim.Adam(0.01), numpyro.infer.Trace_ELBO())
    run = svi.run(jax.random.key(0), 100, progress_bar=False, **DATA)
    loc, scale = (np.asarray(run.params[f"b_auto_{part}"]) for part in ("loc", "scale"))
    for given in (run, run.params):
        assert all(np.array_equal(params_in(given, "numpyro", svi)[name], run.params[name]) for name in run.params)
    value, mcse = gap_of(check(side.line, DATA, svi=svi, params=run.state).summary["fits"]["numpyro-AutoNormal"])
    assert abs(value - short_of(loc, scale)) < 4 * mcse + 1e-6 * value
    with pytest.raises(ValueError, match="give svi= too"):
        check(side.line, DATA, guide=svi.guide, params=run.state)


def test_pyros_svi_object_and_its_saved_param_store(tmp_path):
    """The store as it is, as an object, and as a file; of another guide, or no store at all: one line."""
    import pyro
    import torch

    side = written("pyro")
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    svi = pyro.infer.SVI(side.line, side.by_hand, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO())
    data = {name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in DATA.items()}
    for _ in range(100):
        svi.step(**data)
    store = pyro.get_param_store()
    loc, scale = (store[name].detach().numpy() for name in ("loc", "scale"))
    store.save(str(tmp_path / "store.pt"))
    known = params_in(store, "pyro")
    assert np.array_equal(known["scale"].detach().numpy(), scale) and known["scale"].min() < 0.5
    pyro.clear_param_store()
    value, mcse = gap_of(check(side.line, DATA, svi=svi, params=tmp_path / "store.pt").summary["fits"]["pyro-by_hand"])
    assert abs(value - short_of(loc, scale)) < 4 * mcse + 1e-6 * value
    pyro.clear_param_store()
    (tmp_path / "text.pt").write_text("no store")
    torch.save({"loc": torch.zeros(2)}, tmp_path / "dict.pt")
    for name, words in (("text.pt", "no saved param store"), ("dict.pt", "no saved"), ("none.pt", "no such file")):
        with pytest.raises(ValueError, match=words):
            check(side.line, DATA, guide=side.by_hand, params=tmp_path / name)


def test_a_trained_flow_of_pyros_is_checked():
    """Its transforms store what they have computed, which torch does not copy; the user's own is left as it was."""
    import pyro
    import torch

    from compare.user_model.guide_pyro import computed_in, copied

    side = written("pyro")
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = pyro.infer.autoguide.AutoIAFNormal(side.line, hidden_dim=[4], num_transforms=1)
    svi = pyro.infer.SVI(side.line, guide, pyro.optim.Adam({"lr": 0.01}), pyro.infer.Trace_ELBO())
    data = {name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in DATA.items()}
    svi.step(**data)
    stored = list(computed_in(guide))
    assert stored and not any(tensor.is_leaf for tensor in stored)
    with pytest.raises(RuntimeError):
        copy.deepcopy(guide.transform)
    duplicate = copied(guide)
    assert not list(computed_in(duplicate)) and duplicate.model is guide.model
    assert [id(tensor) for tensor in computed_in(guide)] == [id(tensor) for tensor in stored]
    pyro.clear_param_store()


def test_nested_params_are_taken_as_they_are_or_flat():
    """A small network's in NumPyro; where some are missing, one line."""
    from compare.user_model import guide_numpyro

    side, scale = written("numpyro"), np.full(2, 0.5)
    net = {"w": np.full((2, 12), 0.01), "b": np.array([0.3, -0.2])}
    flat = {"net.w": net["w"], "net.b": net["b"], "scale": scale}
    nested = {"net": net, "scale": scale}
    start = {"net": {"w": np.zeros((2, 12)), "b": np.zeros(2)}, "scale": np.ones(2)}
    for given in (nested, flat):
        own = guide_numpyro.own_params(UserGuide("amortised", side.amortised, given), start, {})
        assert all(np.allclose(own["net"][part], net[part]) for part in net)
    value, mcse = gap_of(check(side.line, DATA, guide=side.amortised, params=flat).summary["fits"]["numpyro-amortised"])
    assert abs(value - short_of(net["w"] @ DATA["y"] + net["b"], scale)) < 4 * mcse + 1e-6 * value
    with pytest.raises(ValueError, match=r"there is no 'net\.b'"):
        check(side.line, DATA, guide=side.amortised, params={"net.w": net["w"], "scale": scale})


def test_a_flow_whose_map_has_no_inverse_is_fed_and_handed_back():
    """NumPyro's block neural flow: log q of a draw is that of the normals less the map's log |det|, by differences; its
    params, with sequences in them of which some are empty, come back as they are."""
    import jax
    from numpyro.infer.autoguide import AutoBNAFNormal

    from compare.fit.svi import user_guide_numpyro
    from compare.fit.svi.svi import as_group
    from compare.fitted import params_of

    with undisturbed("numpyro"):
        user = user_model.register(written("numpyro").line, "numpyro")
        values, guide = user_model.data_of(user, DATA).arguments(), UserGuide("flow", AutoBNAFNormal)
        data, static = user_guide_numpyro.split_arguments(values)
        with user_guide_numpyro.prepare(user, guide, values, seed=0) as objective:
            step, start = 1e-5, objective.first
            draws = np.array([0.7, -1.2]) + step * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
            drawn = objective.evaluate(start, draws, data)
            log_joint = np.add(*user_guide_numpyro.density(user.name, static)(drawn.latents, data))
            params = objective.param_sites(start)
    b = drawn.latents["b"]
    slopes = np.array([b[1] - b[2], b[3] - b[4]]) / (2 * step)
    log_q = stats.norm.logpdf(draws[0]).sum() - np.log(abs(np.linalg.det(slopes)))
    assert objective.is_fed and log_joint[0] - drawn.log_ratio[0] == pytest.approx(log_q, abs=1e-7)
    back = params_of(as_group(params))
    own, same = (jax.tree_util.tree_leaves_with_path(tree) for tree in (params, back))
    assert len(own) > 3 and all(np.array_equal(mine, its) for (_, mine), (_, its) in zip(own, same, strict=True))
    assert [path for path, _ in own] == [path for path, _ in same]
    assert any(layer == () for layer in back["auto_arn__0$params"])


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_models_own_param_is_held_where_the_given_params_have_it(library):
    """The fit was made beside it: the posterior is given that value, not the one that would be estimated."""
    side = written(library)
    result = check(side.with_param, DATA, guide=side.by_hand, params={"loc": MEAN, "scale": np.ones(2), "noise": 0.5})
    assert any("'noise' is held where it is given at 0.5" in note for note in result.comparison.notes)
    exact = result.summary["fits"]["exact"]["variables"]["b[0]"]
    assert np.isclose(exact["mean"], MEAN[0], atol=1e-4) and np.isclose(exact["sd"], COVARIANCE[0, 0] ** 0.5, rtol=1e-4)


def test_moving_parameters_away_from_0_is_counted():
    """Two gradients a row of draws and a parameter."""
    from types import SimpleNamespace

    from compare.fit.svi.user_guide import beside_zeros

    rows = []

    class Bowl:
        dimension = 2

        def evaluate(self, parameters, draws, data):
            rows.append(len(draws))
            return SimpleNamespace(total={"flat": 4.0 * parameters["flat"]})

    moved, spent = beside_zeros(Bowl(), {"flat": np.array([0.0, 1.0, 0.0])}, None, 0)
    assert spent == sum(rows) > 0 and moved["flat"][1] == 1 and (np.abs(moved["flat"][[0, 2]]) > 0).all()


def posterior_draws(n_chains: int = 4, n_draws: int = 1000, scale: float = 1.0) -> np.ndarray:
    """Independent draws from the line's posterior, their distances from its mean multiplied."""
    noise = np.random.default_rng(2).normal(size=(n_chains, n_draws, 2))
    return MEAN + scale * noise @ np.linalg.cholesky(COVARIANCE).T


def test_draws_from_anywhere_are_judged(tmp_path):
    """Right ones, too narrow ones, ones with a burn-in left in; arrays, one chain, a tree, and its file."""
    side, good = written("numpyro"), posterior_draws()
    burnt = good.copy()
    burnt[0, :500] += np.linspace(8, 1, 500)[:, None]
    for draws, word in ((good, "agrees"), (posterior_draws(scale=0.5), "narrow"), (burnt, "unreliable")):
        assert check(side.line, DATA, draws={"b": draws, "other": 0.0}).verdict["draws"].word == word
    result = check(side.line, DATA, draws={"b": good})
    tree = arviz_base.from_dict({"posterior": {"b": good}, "sample_stats": {"diverging": np.zeros((4, 1000), bool)}})
    tree.to_netcdf(tmp_path / "fit.nc")
    for same in (tree, tmp_path / "fit.nc"):
        again = check(side.line, DATA, draws=same).summary["fits"]["draws"]
        assert again["variables"] == result.summary["fits"]["draws"]["variables"]
        assert again["diagnostics"]["divergences"] == 0
    alone = tree["posterior"].to_dataset()
    alone.to_netcdf(tmp_path / "alone.nc")
    turned = alone.transpose("draw", "chain", ...)  # a dataset is a mapping too, of arrays in any order
    for same in (alone, turned, tmp_path / "alone.nc"):
        np.testing.assert_array_equal(arrays_of(same)[0]["b"], good)
    for shape in ((-1, 2), (-1, 1, 2)):  # one chain, and as Pyro's Predictive has it
        flat = check(side.line, DATA, draws={"b": good.reshape(shape)})
        np.testing.assert_array_equal(flat.tree["draws/posterior"]["b"], good)
        assert flat.verdict["draws"].word == "agrees"


def test_a_warm_up_that_all_chains_share_is_seen():
    """R-hat compares halves: it is 1.02 here, and the effective sample size so small that nothing else is shown. Slow
    chains without a warm-up are not called so."""
    side, burnt = written("numpyro"), posterior_draws(n_draws=1000)
    burnt[:, :120] += np.linspace(12, 1, 120)[:, None]
    verdict = check(side.line, DATA, draws={"b": burnt}).verdict["draws"]
    assert verdict.word == "unreliable" and "first tenth" in verdict.sentence
    around = posterior_draws(n_draws=1000)
    around[:, :60] = MEAN + np.array([3.0, -3.0, 3.0, -3.0])[:, None, None]  # starts on either side
    verdict = check(side.line, DATA, draws={"b": around}).verdict["draws"]
    assert verdict.word == "unreliable" and "distances from the median" in verdict.sentence
    slow = np.random.default_rng(1).normal(size=(4, 1000, 2))
    for step in range(1, 1000):
        slow[:, step] = 0.95 * slow[:, step - 1] + math.sqrt(1 - 0.95**2) * slow[:, step]
    slow = MEAN + slow @ np.linalg.cholesky(COVARIANCE).T
    assert "first tenth" not in check(side.line, DATA, draws={"b": slow}).verdict["draws"].sentence


def test_an_mcmc_object_that_was_not_run_is_refused():
    import numpyro.infer
    import pyro.infer

    kernels = numpyro.infer.NUTS(written("numpyro").line), pyro.infer.NUTS(written("pyro").line)
    for mcmc in (numpyro.infer.MCMC(kernels[0], num_warmup=1, num_samples=1), pyro.infer.MCMC(kernels[1], 1, 1)):
        with pytest.raises(ValueError, match=r"has no draws: run it first"):
            arrays_of(mcmc)


def test_one_chain_is_cut_into_pieces_in_their_order():
    """Draws that drift differ between the pieces; what is left over is taken from the beginning."""
    assert cut(np.arange(11)).tolist() == [[3, 4], [5, 6], [7, 8], [9, 10]]
    sites = np.arange(24.0).reshape(8, 3)
    np.testing.assert_array_equal(cut(sites), sites.reshape(4, 2, 3))


def test_an_mcmc_objects_divergences_come_with_its_draws():
    """Steps far too large for the line's posterior diverge, and are counted as each library counts them."""
    import jax
    import numpyro.infer
    import pyro.infer
    import torch

    size = {"step_size": 50.0, "adapt_step_size": False, "adapt_mass_matrix": False}
    mcmc = numpyro.infer.MCMC(
        numpyro.infer.NUTS(written("numpyro").line, **size), num_warmup=1, num_samples=20, progress_bar=False
    )
    mcmc.run(jax.random.key(0), **DATA)
    flags = arrays_of(mcmc)[1]["diverging"]
    assert flags.shape == (1, 20) and flags.sum() == mcmc.get_extra_fields()["diverging"].sum() > 0
    torch.manual_seed(0)
    other = pyro.infer.MCMC(
        pyro.infer.NUTS(written("pyro").line, **size), warmup_steps=1, num_samples=20, disable_progbar=True
    )
    other.run(**{name: torch.tensor(value, dtype=torch.get_default_dtype()) for name, value in DATA.items()})
    flags = arrays_of(other)[1]["diverging"]
    places = other.diagnostics()["divergences"]["chain 0"]
    assert flags.shape == (1, 20) and np.flatnonzero(flags[0]).tolist() == places and places


BAD_GUIDES = {
    "missing": "has no site 'b'",
    "too_many": "has a site 'c' that is no latent",
    "of_other_shape": "shape (3,), in the model (2,)",
    "discrete": "site 'k' is discrete",
    "scaled": "is scaled by 10, in the model by 1",
    "of_other_data": "does not take the model's arguments (x, y)",
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", BAD_GUIDES)
def test_a_guide_for_something_else_is_refused_in_one_line(library, name):
    side = written(library)
    with pytest.raises(ValueError) as refusal:
        compare(side.line, DATA, guides=[getattr(side, name)], nuts=False)
    assert BAD_GUIDES[name] in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing to check"),
        ({"draws": {"b": np.zeros((4, 9))}, "mcmc": object()}, "not both"),
        ({"draws": {"b": np.zeros((4, 9))}, "params": {"loc": 0.0}}, "give guide= or svi="),
        ({"guide": "by_hand"}, "params=svi_result.params"),
        ({"guide": "by_hand", "params": {"loc": np.zeros(2)}}, "there is no 'scale'"),
        ({"guide": "by_hand", "params": {"loc": np.zeros(3), "scale": np.ones(2)}}, "'loc' has shape (3,)"),
        ({"guide": "by_hand", "params": {"loc": np.array([0, np.nan]), "scale": np.ones(2)}}, "'loc' is not finite"),
        ({"guide": "by_hand", "params": {"loc": np.zeros(2), "scale": np.array([1.0, -1.0])}}, "(positive): -1"),
        ({"guide": "by_hand", "params": {"loc": np.zeros(2), "scale": np.array([1.0, 0.0])}}, "(positive): 0"),
        ({"guide": "by_hand", "params": {"scale_unconstrained": np.ones(2)}}, "a module's state_dict"),
        ({"guide": "by_hand", "params": [1.0]}, "params is a list"),
        ({"guide": "by_hand", "params": "no_such_file.npz"}, "no_such_file.npz cannot be read"),
        ({"svi": 3, "params": {}}, "svi is a int"),
        ({"svi": 3, "guide": "by_hand"}, "not both"),
        ({"guide": 3, "params": {}}, "guide is 3"),
        ({"draws": {"a": np.zeros((4, 100))}}, "no site 'b'"),
        ({"draws": {"b": np.zeros((4, 100, 3))}}, "shape (4, 100, 3), in the model (2,)"),
        ({"draws": {"b": np.full((4, 100, 2), np.nan)}}, "not finite"),
        ({"draws": {"b": np.zeros((4, 3, 2))}}, "too few"),
        ({"draws": 7}, "draws is a int"),
        ({"draws": {"b": np.full((4, 100, 2), "1.0")}}, "no numbers"),
        ({"draws": arviz_base.from_dict({"prior": {"b": np.zeros((4, 100, 2))}})}, "without a posterior"),
        ({"draws": "no_such_file.nc"}, "no such file"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_one_line(given, words):
    side = written("numpyro")
    if isinstance(given.get("guide"), str):
        given = {**given, "guide": getattr(side, given["guide"])}
    with pytest.raises(ValueError) as refusal:
        check(side.line, DATA, **given)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


FILE = """
import numpy as np
from tests.test_user_guides import DATA as data, posterior_draws
from tests.user_models.guides_numpyro import line as model, by_hand as guide
draws = {"b": posterior_draws()}
"""


def test_a_file_brings_its_guide_its_params_and_its_draws(tmp_path, capsys):
    """They are found beside the model; the command line names other files of params and draws."""
    (tmp_path / "mine.py").write_text(FILE)
    np.savez(tmp_path / "fit.npz", loc=np.zeros(2), scale=np.full(2, 0.5))
    np.savez(tmp_path / "narrow.npz", b=posterior_draws(scale=0.5))
    options = ["--guides", "by_hand", "--no-nuts", "--format", "json", "--out", str(tmp_path / "out")]
    assert main([str(tmp_path / "mine.py"), *options]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    assert fits["draws"]["verdict"]["word"] == "agrees" and fits["numpyro-by_hand"]["optimisation"]["converged"]
    files = ["--params", str(tmp_path / "fit.npz"), "--draws", str(tmp_path / "narrow.npz")]
    assert main([str(tmp_path / "mine.py"), *options, *files]) == 0
    fits = json.loads(capsys.readouterr().out)["fits"]
    assert fits["draws"]["verdict"]["word"] == "narrow"
    value, mcse = gap_of(fits["numpyro-by_hand"])
    assert abs(value - short_of(np.zeros(2), np.full(2, 0.5))) < 4 * mcse
    assert main([str(tmp_path / "mine.py"), *options, "--params", str(tmp_path / "narrow.npz")]) == 2
    assert "another guide's" in capsys.readouterr().err


POSITIVE = """
import {library}
from {library}.distributions import HalfNormal, Normal

data = {{"y": 0.5}}


def model(y):
    scale = {library}.sample("scale", HalfNormal(1.0))
    {library}.sample("y", Normal(0.0, scale), obs=y)
"""


@pytest.mark.parametrize("library", LIBRARIES)
def test_draws_outside_of_the_support_are_refused_in_one_line(library, tmp_path, capsys):
    text = POSITIVE.format(library=library)
    (tmp_path / "mine.py").write_text(text)
    draws = np.random.default_rng(0).gamma(2.0, size=(4, 100))
    draws[1, 2] = -1.0
    np.savez(tmp_path / "fit.npz", scale=draws)
    arguments = [str(tmp_path / "mine.py"), "--draws", str(tmp_path / "fit.npz"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert (
        out == "" and err.count("\n") == 1 and "not finite at 1 of 400: they lie outside of the model's support" in err
    )


def test_only_the_guides_that_are_requested_are_checked(tmp_path, capsys):
    """A guide beside the model that is wrong costs a comparison without it nothing; its params need it."""
    (tmp_path / "wrong.py").write_text(FILE.replace("by_hand as guide", "too_many as guide"))
    np.savez(tmp_path / "fit.npz", loc=np.zeros(2), scale=np.full(2, 0.5))
    options = ["--no-nuts", "--format", "json", "--out", str(tmp_path / "out"), "--guides"]
    assert main([str(tmp_path / "wrong.py"), *options, "mean_field"]) == 0
    assert "numpyro-mean_field" in json.loads(capsys.readouterr().out)["fits"]
    assert main([str(tmp_path / "wrong.py"), *options, "too_many"]) == 2
    assert "that is no latent" in capsys.readouterr().err
    assert main([str(tmp_path / "wrong.py"), *options, "mean_field", "--params", str(tmp_path / "fit.npz")]) == 2
    assert "not among --guides" in capsys.readouterr().err
