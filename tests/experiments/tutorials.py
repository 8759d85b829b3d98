"""What tutorials, documentation and benchmarks print, against the truth: python -m tests.experiments.tutorials [key].

Prints the table of models/README.md; with the key of a page every quantity of that page.
"""

from __future__ import annotations

import sys

from tests.tutorials.judging import Judgement, Printed, judge, printed
from tests.tutorials.pages import PAGES, Page
from tests.tutorials.truths import Truth

__all__ = ["row"]

SHOWN = 3  # quantities of a page that the table shows


def number(value: float, text: str) -> str:
    """The value with one digit more than the text has, at most four; a count as it is."""
    digits = len(text.partition(".")[2])
    return f"{value:.{min(digits + 1, 4) if digits else 0}f}"


def compared(entry: Printed, truth: Truth) -> tuple[str, str]:
    """A quantity as printed, and its truth."""
    true = number(truth.mean, entry.mean)
    if truth.error:
        true += f" (± {truth.error:.1g})"
    if not entry.sd:
        return f"{entry.quantity} {entry.mean}", true
    return f"{entry.quantity} {entry.mean} ± {entry.sd}", f"{true} ± {number(truth.sd, entry.sd)}"


def verdict(entries: tuple[Printed, ...], truths: dict[str, Truth], judgement: Judgement) -> str:
    """The word, and the numbers behind it."""
    if all(truths[entry.quantity].sd == 0 for entry in entries):
        return f"**{judgement.word}**"
    far = max(range(len(entries)), key=lambda k: abs(judgement.distances[k].mean))
    parts = [f"{entries[far].quantity} {judgement.distances[far].mean:+.2f} sd off"]
    ratios = [d.ratio for d in judgement.distances if d.ratio is not None]
    if len(ratios) == 1:
        parts.append(f"sd {ratios[0]:.2f} of the true one")
    elif ratios:
        parts.append(f"sds {min(ratios):.2f} to {max(ratios):.2f} of the true ones")
    return f"**{judgement.word}**: " + ", ".join(parts)


def row(page: Page) -> str:
    """A page's line of the table: at most `SHOWN` of its quantities, the worst among them."""
    entries, truths = printed()[page.key], dict(page.truth())
    judgement = judge(entries, truths)
    shown = sorted({*range(min(SHOWN, len(entries))), judgement.worst})
    shown = sorted({judgement.worst, *[k for k in shown if k != judgement.worst][: SHOWN - 1]})
    pairs = [compared(entries[k], truths[entries[k].quantity]) for k in shown]
    more = f"; {len(entries) - len(shown)} more" if len(entries) > len(shown) else ""
    words = verdict(entries, truths, judgement) + (f"; {page.remark}" if page.remark else "")
    claim = f"{page.claim}: " + "; ".join(text for text, _ in pairs) + more
    return f"| {page.source} | {claim} | {'; '.join(true for _, true in pairs)} ({page.method}) | {words} |"


def detail(page: Page) -> None:
    """Every quantity of a page: what is printed, what is true, how far they are apart and what is allowed."""
    entries, truths = printed()[page.key], dict(page.truth())
    judgement = judge(entries, truths)
    for entry, d in zip(entries, judgement.distances, strict=True):
        shown, true = compared(entry, truths[entry.quantity])
        ratio = "" if d.ratio is None else f", sd {d.ratio:.3f} of the true one (± {d.allowed[1]:.3f})"
        print(f"{'WRONG' if d.wrong else 'right'}  {shown}; {true}: {d.mean:+.4f} (± {d.allowed[0]:.4f}){ratio}")
    print(judgement.word)


def main() -> None:
    if len(sys.argv) > 1:
        pages = {page.key: page for page in PAGES}
        if sys.argv[1] not in pages:
            print(f"no page {sys.argv[1]!r}; there are {', '.join(pages)}", file=sys.stderr)
            sys.exit(2)
        detail(pages[sys.argv[1]])
        return
    print("| page, cell | what it prints | the truth | verdict |")
    print("| --- | --- | --- | --- |")
    for page in PAGES:
        print(row(page))


if __name__ == "__main__":
    main()
