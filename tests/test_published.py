"""What others published: every claim has a source and a number, agrees where it must, and would notice a mistake."""

from __future__ import annotations

import copy
import io
import json
import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import LIBRARIES, ready
from rich.console import Console
from scipy import stats
from test_report import a_comparison

import models
from compare import compare, pipeline, user_model
from compare.comparison import Comparison, Fit, Job, Layout, Request
from compare.fit import run as make
from compare.fit.tree import build, split
from compare.measure.measures import measure
from compare.measure.truth import find_truth
from compare.options import Options
from compare.report import files, terminal
from compare.report.html import index
from compare.report.html.page import page
from compare.report.tables import claims
from compare.summary import Diagnostics, FitSummary, VariableSummary
from compare.verdict.literature import of_khat, of_reference
from models.bnn import BnnData
from models.bnn.literature import Moments, theorem, variance
from models.chain import Chain
from models.coin import Coin
from models.contract import Published
from models.literature import printed, settled, threshold
from tests.eight_schools import KHAT, NAMES, POSTERIORDB, quadrature

NOTHING = {"fits": {}, "held_out": None}
"""The summary of a comparison without fits."""

WRONG = ("the mean-field fit of log GDP by Adam", "the mode there is", "the objective of a guide with a point mass")
"""How the claims begin that are wrong whatever the data: a tutorial prints them."""

SCHEMA = json.loads((Path(files.__file__).parent / "summary.schema.json").read_text(encoding="utf-8"))


def by_claim(entries: list[Published], part: str) -> Published:
    """The only entry whose claim contains these words."""
    (entry,) = [entry for entry in entries if part in entry.claim]
    return entry


@pytest.fixture(scope="module")
def of_chain() -> Comparison:
    """The chain of two with its mean field, fitted."""
    return pipeline.compare(Request(models.load("chain"), Chain(), ("numpyro",), ("mean_field",), nuts=False))


@pytest.fixture(scope="module")
def of_coin() -> Comparison:
    """The coin with a Gaussian and with the Beta family, fitted."""
    request = Request(models.load("coin"), Coin(), ("numpyro",), ("mean_field", "conjugate"), nuts=False)
    return pipeline.compare(request)


@pytest.mark.parametrize("name", [name for name in models.CATALOGUE if models.load(name).literature])
def test_every_claim_has_a_source_and_numbers_and_agrees(name: str) -> None:
    """Without fits, whatever the data: proven claims hold, and the others are left open."""
    model = models.load(name)
    assert len(model.literature.published(model.data(), NOTHING)) >= 2
    for data in ready(name):
        entries = model.literature.published(data, NOTHING)
        assert any(entry.agrees for entry in entries), data
        for entry in entries:
            assert re.search(r"\b1[7-9]\d\d\b|\b20\d\d\b", entry.source), entry
            assert entry.claim and entry.published, entry
            assert entry.agrees in (True, None) or entry.claim.startswith(WRONG), entry
            assert entry.agrees is None or re.search(r"\d", entry.ours), entry
        assert len({entry.claim for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    ("published", "values", "agrees", "ours"),
    [
        ("0.446", [0.44603], True, "0.44603"),
        ("0.446", [0.4465001], False, "0.44650"),
        ("0.450", [0.4496], True, "0.44960"),
        ("0.450", [0.4494], False, "0.44940"),
        ("mean -0.22, 95% interval [1, 2.5]", [-0.224, 1.4, 2.46], True, "mean -0.2240, 95% interval [1.40, 2.460]"),
        ("mean -0.22, 95% interval [1, 2.5]", [-0.224, 1.6, 2.46], False, "mean -0.2240, 95% interval [1.60, 2.460]"),
        ("1.15e-42", [1.1461e-42], True, "1.1461e-42"),
        ("1.15e-42", [1.1461e-41], False, "1.1461e-41"),
    ],
)
def test_numbers_agree_in_the_digits_that_are_printed(
    published: str, values: list[float], agrees: bool, ours: str
) -> None:
    entry = printed("a claim", "a source", published, *values)
    assert (entry.agrees, entry.ours) == (agrees, ours)


def test_a_simulated_number_may_be_off_by_the_slack() -> None:
    assert printed("", "", "-0.220", -0.217, slack=(0.004,)).agrees
    assert not printed("", "", "-0.220", -0.215, slack=(0.004,)).agrees
    with pytest.raises(ValueError, match="2 numbers, but 1 values"):
        printed("", "", "0.4 or 0.5", 0.4)


def test_the_threshold_grows_with_the_number_of_comparisons() -> None:
    assert threshold(1) == 4.0 < threshold(100) < threshold(10_000) < 6.5
    assert 200 * stats.norm.sf(threshold(100)) == pytest.approx(1e-4)


def test_a_wrong_update_of_the_coin_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads and tails swapped, and a head that is counted twice."""
    exact = import_module("models.coin.exact")
    right = exact.BetaPosterior.__init__
    for wrong in ({"a": 1.0}, {"b": -0.5}, None):

        def init(self: Any, data: Coin, wrong: Any = wrong) -> None:
            right(self, data)
            if wrong is None:
                self.a, self.b = self.b, self.a
            self.a, self.b = self.a + (wrong or {}).get("a", 0.0), self.b + (wrong or {}).get("b", 0.0)
            self.posterior = stats.beta(self.a, self.b)

        monkeypatch.setattr(exact.BetaPosterior, "__init__", init)
        entries = models.load("coin").literature.published(Coin(), NOTHING)
        parts = ("437 girls", "rule of succession", "241,945") if wrong is None else ("rule of succession", "variance")
        assert all(by_claim(entries, part).agrees is False for part in parts), wrong


def test_a_wrong_evidence_of_the_coin_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The binomial coefficient is forgotten."""
    exact = import_module("models.coin.exact")
    right = exact.BetaPosterior.__init__

    def init(self: Any, data: Coin) -> None:
        right(self, data)
        self.log_evidence -= float(np.log(stats.binom.pmf(data.heads, data.tosses, 0.5)) + data.tosses * np.log(2))

    monkeypatch.setattr(exact.BetaPosterior, "__init__", init)
    assert by_claim(models.load("coin").literature.published(Coin(), NOTHING), "equally probable").agrees is False


def test_a_wrong_factor_of_the_chain_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last node's pivot is that of an inner one."""
    exact = import_module("models.chain.exact")
    right = exact.factorise

    def wrong(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        diagonal, beside = right(seen)
        diagonal[-1] = np.sqrt(diagonal[-1] ** 2 + 1)
        return diagonal, beside

    monkeypatch.setattr(exact, "factorise", wrong)
    entries = models.load("chain").literature.published(Chain(), NOTHING)
    assert [by_claim(entries, part).agrees for part in ("filter's", "prediction errors")] == [False, False]


def test_the_chains_mean_field_is_as_theory_says(of_chain: Comparison) -> None:
    entries = of_chain.model.literature.published(of_chain.data, of_chain.summary)
    assert [entry.agrees for entry in entries] == [True] * 6
    assert "coordinate_ascent, numpyro-mean_field" in by_claim(entries, "posterior's means").ours


@pytest.mark.parametrize(
    ("claim", "change"),
    [
        ("posterior's means", lambda fit: fit["variables"]["z[0]"].update(mean_error=0.1)),
        ("1/P_ii", lambda fit: fit["variables"]["z[1]"].update(sd_ratio=0.93)),
        ("1/P_ii", lambda fit: fit["variables"]["z[1]"].update(sd_ratio=0.80)),
        ("entropy", lambda fit: fit["ledger"]["evidence_gap"].update(value=0.1440)),
    ],
)
def test_a_mean_field_that_is_another_is_noticed(of_chain: Comparison, claim: str, change: Any) -> None:
    summary = copy.deepcopy(of_chain.summary)
    change(summary["fits"]["numpyro-mean_field"])
    entries = of_chain.model.literature.published(of_chain.data, summary)
    assert [entry.claim for entry in entries if entry.agrees is False] == [by_claim(entries, claim).claim]


def test_a_fit_that_did_not_arrive_says_nothing(of_chain: Comparison) -> None:
    summary = copy.deepcopy(of_chain.summary)
    summary["fits"]["numpyro-mean_field"]["optimisation"]["converged"] = False
    summary["fits"]["coordinate_ascent"] |= {"status": "failed", "optimisation": None}
    assert list(settled(summary, "mean_field")) == []
    entries = of_chain.model.literature.published(of_chain.data, summary)
    assert [entry.agrees for entry in entries] == [True] * 3 + [None] * 3


def test_the_moments_of_a_factorised_gaussian_are_those_of_its_draws() -> None:
    rng, count = np.random.default_rng(1), 400_000
    normal = rng.normal(0, 0.5, (6, 1, 3))
    q = Moments(*(np.exp(values) if number % 2 else values for number, values in enumerate(normal)))
    for x in (-0.8, 0.0, 1.7):
        weight, bias, output = (q[2 * i] + q[2 * i + 1] * rng.standard_normal((count, 3)) for i in range(3))
        squares = (output * np.maximum(weight * x + bias, 0.0)).sum(axis=1)
        squares = (squares - squares.mean()) ** 2
        assert abs(squares.mean() - variance(q, np.array([x]))[0]) < 4 * squares.std() / np.sqrt(count)


def test_the_theorem_would_notice_units_that_are_not_independent(monkeypatch: pytest.MonkeyPatch) -> None:
    """With variance exp(-x^2), which no factorised Gaussian gives, f is most uncertain between the ends."""
    module = import_module("models.bnn.literature")
    monkeypatch.setattr(module, "variance", lambda q, x: np.exp(-(x**2)))
    assert theorem(BnnData()).agrees is False


def test_a_network_without_its_symmetry_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    network = import_module("models.bnn.network")
    monkeypatch.setitem(network.ACTIVATIONS, "tanh", lambda a: np.tanh(a - 0.1))
    entry = by_claim(models.load("bnn").literature.published(BnnData(), NOTHING), "change places")
    assert entry.agrees is False and entry.ours.startswith("120 equal")


@pytest.mark.parametrize(("middle", "bounded"), [(0.5, True), (1.5, False)])
def test_fits_of_the_network_are_held_against_the_theorem(middle: float, bounded: bool) -> None:
    """With ReLU; sds of 0.5 at the ends, and their errors of 1%."""

    def fit(method: str, guide: str | None) -> dict[str, Any]:
        sds = {f"f[{i}]": {"sd": middle if i == 6 else 0.5, "mcse_sd": 0.005} for i in range(13)}
        arrived = {"converged": True} if guide else None
        return {"status": "done", "method": method, "guide": guide, "optimisation": arrived, "variables": sds}

    summary = NOTHING | {"fits": {"reference": fit("reference", None), "pyro-mean_field": fit("svi", "mean_field")}}
    entries = models.load("bnn").literature.published(BnnData(activation="relu"), summary)
    assert by_claim(entries, "obey that bound").agrees is bounded
    assert by_claim(entries, "exact inference").agrees is not bounded
    assert f"{2 * middle**2:.3g} ± " in by_claim(entries, "exact inference").ours
    left_open = models.load("bnn").literature.published(BnnData(), summary)
    assert [by_claim(left_open, part).agrees for part in ("obey that bound", "exact inference")] == [None, None]


def ledgers(**gaps: tuple[float, float]) -> dict[str, Any]:
    """A summary with a family gap and an amortisation gap of each guide, with errors of 0.002."""

    def term(value: float) -> dict[str, float]:
        return {"value": value, "mcse": 0.002, "sampling": 0.01}

    guides = {
        f"pyro-{name}": {"family_gap": term(family), "amortisation_gap": term(amortisation)}
        for name, (family, amortisation) in gaps.items()
    }
    return NOTHING | {"held_out": {"guides": guides}}


@pytest.mark.parametrize(
    ("gaps", "agrees"),
    [
        ({"mean_field": (0.08, 0.31), "full_rank": (0.03, 0.34), "flow": (0.02, 0.14)}, [True, True, True]),
        ({"mean_field": (0.4, 0.1), "full_rank": (0.3, 0.1), "flow": (0.02, 0.14)}, [False, True, False]),
        ({"mean_field": (0.08, 0.31), "flow": (0.09, 0.31)}, [True, False, False]),
        ({"mean_field": (0.08, 0.085)}, [False, None, None]),
        ({}, [None, None, None]),
    ],
)
def test_the_order_of_the_gaps_is_read_off(gaps: dict[str, tuple[float, float]], agrees: list[bool | None]) -> None:
    entries = import_module("models.vae.literature").gaps(ledgers(**gaps)["held_out"])
    assert [entry.agrees for entry in entries] == agrees


def test_a_wrong_evidence_of_the_autoencoder_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proposals that are not normalised, and a noise whose sd stands where its variance belongs."""
    vae, module = models.load("vae"), import_module("models.vae.literature")
    data = next(ready("vae"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "normal", lambda z: -0.5 * np.sum(z**2, axis=-1) - 3.0)
        assert by_claim(vae.literature.published(data, NOTHING), "importance samples").agrees is False
    linear = import_module("models.linear_decoder")
    right = linear.Principal.decoder

    def wrong(self: Any, latent: int) -> Any:
        decoder = right(self, latent)
        return type(decoder)(dict(decoder.weights) | {"noise": decoder.weights["noise"] ** 2})

    monkeypatch.setattr(linear.Principal, "decoder", wrong)
    entries = vae.literature.published(data, NOTHING)
    assert [by_claim(entries, part).agrees for part in ("most likely noise", "log likelihood")] == [False, False]


def normal_fit(mean: float, sd: float, khat: float) -> tuple[dict[str, FitSummary], dict[str, Fit], Any]:
    """A guide N(mean, sd^2) in place of theta ~ N(0, 1), as summaries, fits and a truth, with this k-hat."""
    rng = np.random.default_rng(5)
    theta = rng.normal(mean, sd, 4000)
    stats_ = {"log_joint": stats.norm.logpdf(theta) - 2.0, "log_guide": stats.norm.logpdf(theta, mean, sd)}
    tree = build(split({"theta": theta}), {name: split({name: values})[name] for name, values in stats_.items()}, {})
    truth_ = SimpleNamespace(mean=lambda: {"theta": np.asarray(0.0)}, sd=lambda: {"theta": np.asarray(1.0)})
    away = {"mean_error": float(theta.mean()), "mcse_mean_error": sd / np.sqrt(4000)}
    away |= {"sd_ratio": float(theta.std()), "mcse_sd_ratio": sd / np.sqrt(8000)}
    summary = a_summary("svi", Diagnostics(khat=khat), theta=VariableSummary(**away))
    return {"a-fit": summary}, {"a-fit": Fit(Job("a-fit", "one", None, "svi", layout=ONE), "done", tree=tree)}, truth_


def a_summary(method: str, diagnostics: Diagnostics, **variables: VariableSummary) -> FitSummary:
    return FitSummary(None, None, method, "done", None, 0.0, 0, variables, diagnostics=diagnostics)


ONE = Layout({"theta": ()}, {}, {}, (("theta", ()),))


@pytest.mark.parametrize(
    ("mean", "sd", "khat", "agrees"),
    [
        (0.0, 0.99, 0.2, [True, None, None]),
        (0.5, 1.0, 0.2, [False, None, None]),
        (0.0, 0.75, 0.2, [False, None, None]),
        (0.3, 0.85, 0.6, [None, True, None]),  # reweighting can put this right
        (1.5, 0.3, 0.6, [None, False, None]),  # but not this
        (1.5, 0.3, 0.9, [None, None, True]),
        (0.0, 0.99, 0.9, [None, None, False]),
    ],
)
def test_khat_is_held_against_the_distance(mean: float, sd: float, khat: float, agrees: list[bool | None]) -> None:
    summaries, fits, known = normal_fit(mean, sd, khat)
    entries = of_khat(summaries, fits, known)
    assert [entry.agrees for entry in entries] == agrees
    ours = next(entry.ours for entry in entries if entry.agrees is not None)
    assert ("a-fit" in ours) is (False in agrees)
    assert [entry.agrees for entry in of_khat(summaries, fits, None)] == [None] * 3


@pytest.mark.parametrize(
    ("change", "agrees"),
    [
        ({}, [True, True]),
        ({"r_hat": 1.0099, "e_bfmi": 0.201, "ess_tail": 9500.0}, [True, True]),
        ({"r_hat": 1.011}, [False, True]),
        ({"divergences": 1}, [False, True]),
        ({"e_bfmi": 0.19}, [False, True]),
        ({"ess_tail": 9499.5}, [True, False]),
    ],
)
def test_a_reference_is_held_against_posteriordbs_rules(change: dict[str, float], agrees: list[bool]) -> None:
    good = {"r_hat": 1.001, "divergences": 0, "e_bfmi": 0.9, "ess_bulk": 9900.0, "ess_tail": 9700.0}
    summary = a_summary("reference", Diagnostics(**good | change), theta=VariableSummary())
    tree = build({"theta": np.zeros((10, 1000))}, {"log_joint": np.zeros((10, 1000))}, {})
    fit = Fit(Job("reference", "one", None, "reference", layout=ONE), "done", tree=tree)
    assert [claim.agrees for claim in of_reference(summary, fit)] == agrees
    assert of_reference(replace(summary, status="failed"), fit) == []
    assert of_reference(None, None) == []


def test_the_summary_has_them_all(of_coin: Comparison, of_chain: Comparison) -> None:
    for comparison in (of_coin, of_chain):
        summary = json.loads(files.as_json(comparison.summary))
        jsonschema.validate(summary, SCHEMA)
        entries = comparison.model.literature.published(comparison.data, comparison.summary)
        rows = summary["published"]
        assert [row["claim"] for row in rows[: len(entries)]] == [entry.claim for entry in entries]
        assert all(row["agrees"] is not row["claim"].startswith(WRONG) for row in rows[: len(entries)])
        assert ["k-hat" in row["claim"] for row in rows[len(entries) :]] == [True] * 3
    khats = of_coin.summary["published"][-3:]
    assert [row["agrees"] for row in khats] == [True, None, False]  # a Gaussian's tails: far off, means and sds are not
    assert "1 of 1 fits right" in khats[0]["ours"] and "right nevertheless: numpyro-mean_field" in khats[2]["ours"]


@pytest.mark.parametrize(("agrees", "is_counted"), [(True, True), (False, True), (None, False)])
def test_published_numbers_of_which_nothing_is_known_are_not_counted(agrees: bool | None, is_counted: bool) -> None:
    """As beside importance sampling of a user's model, on which nobody published anything."""
    comparison: Any = SimpleNamespace(claims=(), published=(Published("a claim", "a source", "1", "2", agrees),))
    out = io.StringIO()
    terminal.print_tallies(comparison, Console(file=out, width=140))
    assert ("Numbers that others published" in out.getvalue()) == is_counted and "--verbose" in out.getvalue()


def test_the_page_and_the_terminal_tell_them(of_coin: Comparison) -> None:
    cited = claims.published(of_coin.published)
    assert claims.tally(cited) == "10 of 13 agree; 2 do not; of 1 these data and fits say nothing"
    html = page(of_coin)
    assert html.count('<td role="cell" class="l yes">✓ agrees') == 10 and html.count('class="l no">✗ differs') == 2
    assert 'id="published"' in html and "0.44603" in html and "[0.415, 0.477]" in html and "– not told" in html
    out = io.StringIO()
    terminal.show(of_coin, Console(file=out, width=140, highlight=False), verbose=True)
    section = out.getvalue().partition("Against numbers that others published")[2]
    assert "10 of 13 agree" in section and section.count("differs") == 2 and "✗ differs: k-hat above 0.7" in section


def test_claims_are_escaped_and_may_be_missing(tmp_path: Path) -> None:
    assert "Against numbers" not in page(a_comparison())
    claim = Published("<b>k", "[i]A & B 2018", "1", "2 > 1", None)
    made_up = a_comparison(published=(claim,))
    assert "&lt;b&gt;k<small>[i]A &amp; B 2018</small>" in page(made_up)
    (tmp_path / "coin").mkdir()
    for published in (made_up.summary["published"], None):
        summary = made_up.summary | {"published": published, "held_out": None}
        if published is None:
            del summary["published"]
        (tmp_path / "coin" / "summary.json").write_text(files.as_json(summary), encoding="utf-8")
        html = index.page(index.read(tmp_path))
        assert ('<a href="coin/report.html#published">coin</a>' in html) is bool(published)
        assert ("2 &gt; 1" in html) is bool(published) and "2 > 1" not in html


def test_posteriordbs_eight_schools_are_right() -> None:
    """Its ten means agree with quadrature within its standard errors."""
    away = (np.array(POSTERIORDB["mean"]) - quadrature()) / np.array(POSTERIORDB["mcse"])
    assert np.abs(away).max() < threshold(len(away))


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_reference_of_eight_schools_is_right(library: str) -> None:
    """Against the quadrature, and against posteriordb within the errors of both."""
    module = import_module(f"tests.user_models.eight_schools_{library}")
    result = compare(module.non_centred, module.data, library, ["mean_field"], nuts=False, reference_ess=1000.0)
    variables = result.summary["fits"]["reference"]["variables"]
    means, errors = (np.array([variables[name][key] for name in NAMES]) for key in ("mean", "mcse_mean"))
    assert np.abs((means - quadrature()) / errors).max() < threshold(len(NAMES))
    apart = (means - np.array(POSTERIORDB["mean"])) / np.hypot(errors, POSTERIORDB["mcse"])
    assert np.abs(apart).max() < threshold(len(NAMES))


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_khat_of_eight_schools_is_as_published(library: str) -> None:
    """Mean field on the non-centred form with Yao et al.'s priors: their single k-hat fits ours over eight seeds."""
    import_module(f"compare.user_model.in_{library}")
    mine = user_model.register(import_module(f"tests.user_models.yao_{library}").model, library)
    given = user_model.data_of(mine, import_module(f"tests.user_models.eight_schools_{library}").data)
    khats = []
    for seed in range(8):
        fit = make(Job("mine", mine.name, given, "svi", library, "mean_field", seed, Options()))
        khats.append(measure(fit, None, None).diagnostics.khat)
    assert abs(KHAT - np.mean(khats)) < 4 * np.std(khats, ddof=1) * np.sqrt(1 + 1 / len(khats))
    assert find_truth(mine.model, given, {}) is None
