"""The page of the whole zoo, and a model's own: what they hold, and how they open in a browser."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compare.cli.commands import all as compare_all
from compare.cli.main import main
from compare.cli.options import Invocation
from compare.report import files
from compare.report.html import index, scatter, stack
from compare.report.html.page import page as report_page
from compare.report.html.template import CARDS, ratio, visible
from models.plotting import FAMILY_COLORS, SPARE_COLORS
from tests.browser import Page, browse, executable
from tests.test_report import a_comparison

WIDTHS = {"phone": 390, "desktop": 1280}
VIEWS = [(width, scheme) for width in WIDTHS.values() for scheme in ("light", "dark")]
SMALL = ["--models", "coin,chain", "--no-nuts", "--guides", "mean_field,conjugate"]


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small zoo: two models as they are, one with a reference, which are made up, and one that failed."""
    folder = tmp_path_factory.mktemp("zoo")
    assert main(["all", *SMALL, "--out", str(folder)]) == 0
    made_up = a_comparison(reference_fit="reference")
    (folder / "made_up").mkdir()
    summary = made_up.summary | {"model": "made_up"}
    (folder / "made_up" / "summary.json").write_text(files.as_json(summary), encoding="utf-8")
    (folder / "made_up" / "report.html").write_text(report_page(made_up), encoding="utf-8")
    (folder / "wrecked").mkdir()
    failure = {"model": "wrecked", "reason": "MemoryError: no <room>", "seconds": 1.0}
    (folder / "wrecked" / "failure.json").write_text(json.dumps(failure), encoding="utf-8")
    assert main(["all", "--page-only", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="session")
def html(out: Path) -> str:
    return (out / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if executable() is None:
        pytest.skip("no Chromium or Chrome is installed: the pages are not opened in a browser")
    with browse(tmp_path_factory.mktemp("profile")) as page:
        yield page


def the_pages(out: Path) -> list[Path]:
    return [out / "index.html", out / "coin" / "report.html", out / "made_up" / "report.html"]


def summary_of(out: Path, name: str) -> dict[str, Any]:
    return json.loads((out / name / "summary.json").read_text(encoding="utf-8"))


def test_the_page_needs_nothing_and_escapes_everything(html: str) -> None:
    assert not re.search(r"""(?:src|href|url|@import|action)\s*[=(]?\s*["']?\s*(?:https?:)?//""", html)
    assert "<link" not in html and "<iframe" not in html
    assert "MemoryError: no &lt;room&gt;" in html and "It is [b]failed[/b] &lt;i&gt;so&lt;/i&gt;." in html


def test_every_fit_and_every_claim_is_on_the_page(out: Path, html: str) -> None:
    for name in ("coin", "chain", "made_up"):
        summary = summary_of(out, name)
        for fit, fit_summary in summary["fits"].items():
            assert f'href="{name}/report.html#fit-{fit}"' in html
            assert f'id="fit-{fit}"' in (out / name / "report.html").read_text(encoding="utf-8")
            assert fit_summary["verdict"]["word"] in html
        assert html.count(f'<td class="l">{name}</td><td class="l no">') + html.count(
            f'<td class="l">{name}</td><td class="l yes">'
        ) == len(summary["text"])
    assert "(1, 1) instead of" in html


def test_the_order_is_the_catalogues(out: Path) -> None:
    assert [entry.name for entry in index.read(out)] == ["coin", "chain", "made_up", "wrecked"]


def test_a_summary_that_is_none_is_passed_over(tmp_path: Path) -> None:
    for number, text in enumerate(("[]", '{"schema": 99, "fits": {}}', "{}")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "summary.json").write_text(text)
    assert index.read(tmp_path) == [] == index.read(tmp_path / "missing")


@pytest.mark.parametrize("name", ["coin", "chain"])
def test_the_stacks_add_up_to_the_log_evidence(name: str, out: Path) -> None:
    summary = summary_of(out, name)
    drawn = stack.stack(summary)
    assert {bar.fit for bar in drawn.bars} == {
        fit for fit, fit_summary in summary["fits"].items() if fit_summary["ledger"]["elbo"] is not None
    }
    for bar in drawn.bars:
        lane = [*bar.account, *bar.gaps]
        assert lane[0].begin == 0 and lane[1].end == pytest.approx(summary["fits"][bar.fit]["ledger"]["elbo"]["value"])
        assert all(step.end == pytest.approx(other.begin, abs=1e-12) for step, other in pairwise(lane))
        assert lane[-1].end == pytest.approx(summary["log_evidence"]["value"], abs=1e-9)
        assert bar.gap[-1].end == pytest.approx(summary["fits"][bar.fit]["ledger"]["evidence_gap"]["value"], abs=1e-12)
        for panel, part in ((drawn.account, lane), (drawn.gap, bar.gap)):
            assert all(0 <= panel.place(end) <= 1000 for step in part for end in (step.begin, step.end))


def test_without_the_evidence_elbos_are_held_against_the_highest(out: Path) -> None:
    summary = summary_of(out, "made_up")
    ledger = summary["fits"]["numpyro-mean_field"]["ledger"]
    summary["fits"]["pyro-full_rank"]["ledger"] = ledger | {
        "elbo": {"value": ledger["elbo"]["value"] - 2.0, "mcse": 4e-4}
    }
    bars = {bar.fit: bar for bar in stack.stack(summary).bars}
    assert bars["numpyro-mean_field"].gap[-1].end == 0
    assert bars["pyro-full_rank"].gap[-1].end == pytest.approx(2.0)
    assert bars["pyro-full_rank"].whisker == pytest.approx((2 - 2 * 5e-4, 2 + 2 * 5e-4))  # both ELBOs' errors
    assert all(bar.gaps == [] for bar in bars.values())


@pytest.mark.parametrize("seed", range(3))
def test_ticks_are_round_and_inside(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        low = rng.normal() * 10.0 ** rng.integers(-6, 5)
        high = low + rng.exponential() * 10.0 ** rng.integers(-5, 5) + 1e-6
        ticks = stack.ticks(low, high)
        assert 1 <= len(ticks) <= 6
        for value, text in ticks:
            assert low - 1e-8 * (high - low) <= value <= high + 1e-8 * (high - low)
            assert float(text) == pytest.approx(value, rel=1e-9, abs=1e-9 * (high - low))


def test_nothing_beats_what_is_on_the_line() -> None:
    def fit(seconds: float, gap: float) -> dict[str, Any]:
        term = {"value": gap, "mcse": 0.0}
        ledger = {"elbo": {"value": -1 - gap, "mcse": 0.0}, "evidence_gap": term}
        verdict = {"word": "agrees", "sentence": "."}
        return {
            "library": "pyro",
            "guide": "g",
            "method": "svi",
            "seconds": seconds,
            "ledger": ledger,
            "verdict": verdict,
        }

    summary = {
        "log_evidence": {"value": -1.0, "mcse": 0.0},
        "fits": {"quick": fit(1, 1), "near": fit(10, 0.01), "beaten": fit(11, 0.02), "both": fit(2, 0.5)},
    }
    drawn = scatter.scatter("made up", summary, [summary])
    assert drawn.best == ["quick", "both", "near"]
    x = {point.fit: point.x for point in drawn.points}
    y = {point.fit: point.y for point in drawn.points}
    assert x["quick"] < x["both"] < x["near"] < x["beaten"] and y["quick"] < y["both"] < y["beaten"] < y["near"]


def colours(css: str, scheme: str) -> dict[str, str]:
    """The colours that a page's style defines in a scheme."""
    roots = re.findall(r":root\{([^}]*)\}", css)
    return dict(re.findall(r"--([\w-]+):(#[0-9a-f]+)", roots[scheme == "dark"]))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_drawings_stand_out(scheme: str, html: str) -> None:
    known = colours(html, scheme)
    for ground in ("bg", "card", "head"):
        for ink in ("ink", "soft", "mark"):
            assert ratio(known[ink], known[ground]) >= 4.5, (ink, ground)
        for ink in ("good", "warn", "bad"):
            assert ratio(known[ink], known[ground]) >= 4.5, (ink, ground)
    for ink, ground in (("good", "good-bg"), ("warn", "warn-bg"), ("bad", "bad-bg"), ("ink", "exact-bg")):
        assert ratio(known[ink], known[ground]) >= 4.5 and ratio(known["ink"], known[ground]) >= 4.5
    drawn = [name for name in known if name.startswith("of-")] + [term for term, _ in stack.TERM_TITLES] + ["edge"]
    assert "of-mean_field" in drawn
    for name in drawn:
        assert ratio(known[name], known["card"]) >= 3, name
    assert known["card"] == CARDS[scheme]


def test_contrast_is_wcags() -> None:
    assert ratio("#000", "#ffffff") == pytest.approx(21) and ratio("#777777", "#fff") == pytest.approx(4.48, abs=0.005)
    for card in CARDS.values():
        for colour in (*FAMILY_COLORS.values(), *SPARE_COLORS, card):
            assert ratio(visible(colour, card), card) >= 3
    assert visible("#0072b2", "#ffffff") == "#0072b2"


def test_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def compare(invocation: Invocation, console: Any, progress: Any) -> None:
        progress("fitting")
        name, folder = invocation.request.model.name, invocation.settings.out
        if name == "coin":
            raise MemoryError("no\nroom")
        folder.mkdir(parents=True)
        text = (out / name / "summary.json").read_text(encoding="utf-8")
        (folder / "summary.json").write_text(text, encoding="utf-8")

    monkeypatch.setattr(compare_all, "compare", compare)
    assert main(["all", *SMALL, "--out", str(tmp_path / "new")]) == 1
    printed = capsys.readouterr()
    assert "coin: failed: MemoryError: no room" in printed.out and "narrow" in printed.out
    assert printed.err == "compare: coin could not be compared: MemoryError: no room\n"
    text = (tmp_path / "new" / "index.html").read_text(encoding="utf-8")
    assert "MemoryError: no room" in text and "chain/report.html" in text
    assert f"python -m compare all {' '.join(SMALL)}" in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--models coim", "did you mean 'coin'?"),
        ("--guides mean_feild", "did you mean 'mean_field'?"),
        ("--models chain --guides conjugate", "none of chain has a guide conjugate"),
        ("--libraries tensorflow", "choose from numpyro, pyro"),
        ("--heads 3", "no option '--heads'"),
        ("--seed -1", "-1 is negative"),
        ("--show", "name it"),
        ("--page-only", "there is no summary"),
        ("coin", "no option 'coin'"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    line: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["all", *line.split()]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_each_model_keeps_its_own_defaults_and_guides(tmp_path: Path) -> None:
    invocations = compare_all.parse(
        ["--guides", "markov,mean_field,conjugate", "--seed", "7", "--no-nuts", "--out", str(tmp_path)]
    ).invocations
    assert invocations["coin"].request.guides == ("mean_field", "conjugate")
    assert invocations["chain"].request.guides == ("markov", "mean_field")
    for name, invocation in invocations.items():
        request = invocation.request
        assert request.options.budget == request.model.defaults.get("budget", 60.0)
        assert request.seed == 7 and not request.nuts and invocation.settings.out == tmp_path / name
    assert compare_all.parse(["--models", "coin,chain", "--guides", "markov"]).left_out == ("coin",)


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_pages_open_in_a_browser(width: int, scheme: str, out: Path, chromium: Page) -> None:
    """No complaint, no request, nothing too wide, no broken picture or link, and text that stands out."""
    for path in the_pages(out):
        chromium.open(path, width, scheme)
        assert chromium.errors == []
        assert [url for url in chromium.requests if not url.startswith("data:")] == [path.resolve().as_uri()]
        assert chromium.run("document.documentElement.scrollWidth") <= width
        assert chromium.run("[...document.images].every(one => one.naturalWidth > 0)")
        ids = chromium.run("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        for link in chromium.run("[...document.querySelectorAll('a')].map(one => one.getAttribute('href'))"):
            place, _, anchor = link.partition("#")
            assert anchor in ids if not place else (path.parent / place).is_file(), link
        for ink, ground, sample in chromium.run(SHADES):
            assert ratio(ink, ground) >= 4.5, (path.name, sample, ink, ground)


SHADES = """(() => {
  const hex = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    const digits = found.slice(0, 3).map((n) => Math.round(n).toString(16).padStart(2, '0'));
    return found.length > 3 && found[3] === 0 ? null : '#' + digits.join('');
  };
  const ground = (one) => !one ? '#ffffff' : hex(getComputedStyle(one).backgroundColor) ?? ground(one.parentElement);
  const found = new Map(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), parent = walk.currentNode.parentElement;
    if (!text || !parent.checkVisibility() || parent.closest('script, option')) continue;
    const style = getComputedStyle(parent);
    const pair = [hex(parent.closest('svg') ? style.fill : style.color), ground(parent)];
    found.set(pair.join(), [...pair, text.slice(0, 40)]);
  }
  return [...found.values()];
})()"""
"""All pairs of a text's colour and what it stands on, with a sample."""

FOCUSABLE = "a[href], button, select, summary, [tabindex='0']"
SAY = "(document.activeElement?.outerHTML ?? '').slice(0, 90)"


def test_every_control_is_reached_by_keyboard_in_order(out: Path, chromium: Page) -> None:
    for path in the_pages(out):
        chromium.open(path)
        expected = chromium.run(
            f"[...document.querySelectorAll(`{FOCUSABLE}`)].filter(one => one.checkVisibility())"
            ".map(one => one.outerHTML.slice(0, 90))"
        )
        reached = []
        for _ in expected:
            chromium.press("Tab", 9)
            reached.append(chromium.run(SAY))
        assert reached == expected
    assert len(expected) > 3


def test_the_table_sorts_by_keyboard(out: Path, chromium: Page) -> None:
    chromium.open(out / "index.html")
    chromium.run("document.querySelector('#table thead th:nth-child(8) button').focus()")
    key = "[...document.querySelectorAll('#table tbody tr')].map(row => row.cells[7].dataset.key)"
    for order, sign in (("ascending", 1), ("descending", -1)):
        chromium.press("Enter", 13)
        assert chromium.run("document.querySelector('#table thead th:nth-child(8)').ariaSort") == order
        seconds = [sign * float(text) for text in chromium.run(key) if text is not None]
        assert seconds == sorted(seconds)
    assert chromium.run("document.querySelectorAll('#table [aria-sort]').length") == 1


def test_numbers_show_on_focus_and_go_on_escape(out: Path, chromium: Page) -> None:
    chromium.open(out / "index.html", WIDTHS["phone"])
    for target in (".matrix td a", ".panel a"):
        chromium.run(f"document.querySelector(`{target}`).focus()")
        assert chromium.run(
            f"tip.hidden === false && tip.textContent === document.querySelector(`{target}`).dataset.tip"
        )
        assert chromium.run("(({left, right}) => left >= 0 && right <= innerWidth)(tip.getBoundingClientRect())")
        chromium.press("Escape", 27)
        assert chromium.run("tip.hidden")


def test_a_library_or_a_guide_can_be_chosen(out: Path, chromium: Page) -> None:
    chromium.open(out / "index.html")
    shown = (
        "[...document.querySelectorAll('#table tbody tr')].filter(one => !one.hidden)"
        ".map(one => one.cells[1].textContent)"
    )
    everything = chromium.run(shown)
    choose = "choose.elements.{}.value = '{}'; choose.dispatchEvent(new Event('change'))"
    chromium.run(choose.format("library", "pyro"))
    assert chromium.run(shown) == [name for name in everything if not name.startswith("numpyro-")]
    assert not chromium.run(
        "[...document.querySelectorAll('[data-library=numpyro]')].some(one => one.checkVisibility())"
    )
    assert chromium.run("document.documentElement.scrollWidth") <= WIDTHS["desktop"]
    chromium.run(choose.format("guide", "conjugate"))
    assert set(chromium.run(shown)) == {"exact", "reference", "pyro-conjugate"}
    assert "4 of" in chromium.run("choose.querySelector('output').textContent")
    chromium.run(choose.format("library", "") + ";" + choose.format("guide", ""))
    assert chromium.run(shown) == everything


def test_the_page_is_whole_without_scripts(out: Path, chromium: Page) -> None:
    chromium.open(out / "index.html", scripts=False)
    try:
        assert not chromium.run("choose.checkVisibility()") and chromium.run(
            "document.querySelector('button') === null"
        )
        assert chromium.run("document.querySelectorAll('.matrix td a').length") > 5
        assert chromium.run("document.querySelectorAll('#table tbody tr').length") > 5
    finally:
        chromium.open(out / "index.html")


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_axe_finds_nothing(width: int, scheme: str, out: Path, chromium: Page) -> None:
    """Set AXE_CORE to the path of axe-core's axe.min.js to have the pages checked by it."""
    if not os.environ.get("AXE_CORE"):
        pytest.skip("AXE_CORE does not name axe-core's axe.min.js")
    for path in the_pages(out):
        chromium.open(path, width, scheme)
        chromium.run(Path(os.environ["AXE_CORE"]).read_text(encoding="utf-8") + "\n;0")
        violations = chromium.run(
            "axe.run(document).then(found => found.violations.map(one => [one.id, one.nodes[0].html]))"
        )
        assert violations == []
