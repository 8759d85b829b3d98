"""The ledger in print: decimals for which both of its equations hold exactly.

    ELBO = data fit - complexity
    log evidence - ELBO = evidence gap = symmetry gap + family gap + amortisation gap + auxiliary gap + optimisation gap

Rounding every term by itself breaks such sums in the last digit. Here the log evidence and the ELBO are rounded to the
nearest, and the evidence gap is their difference. In each sum, the part with the largest Monte Carlo error takes what
the others leave, if that moves it by no more than one last digit. Otherwise the parts are apportioned by the method of
largest remainders: all are rounded down, and the missing digits go to the parts that lost most. So no printed term is
off by more than one last digit.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from compare.comparison import Comparison
from compare.report.tables.numbers import ABSENT, entry, estimate, printable
from compare.report.tables.table import Column, Row, Table
from compare.summary import LEDGER_TERMS, Estimate

Terms = Mapping[str, "Estimate | None"]  # the terms of a ledger by name; what is absent is not known, or does not apply

GAPS = ("symmetry_gap", "family_gap", "amortisation_gap", "auxiliary_gap", "optimisation_gap")

FIT = Column("fit", "fit", "", "How this posterior was computed: library and family of guides, or method.", True)


def term(key: str, header: str, meaning: str, is_part: bool = False) -> Column:
    return Column(key, header, "ledger", meaning, is_part=is_part)


TERMS = (
    term("log_evidence", "log evidence", "log p(x): how well the model as a whole predicts the data."),
    term("elbo", "ELBO", "Evidence lower bound of the fitted guide q."),
    term("data_fit", "data fit", "E_q[log p(x | z)]: how well latents drawn from q explain the data.", is_part=True),
    term("complexity", "complexity", "KL(q, prior): how far q has moved from the prior.", is_part=True),
    term("evidence_gap", "evidence gap", "log evidence - ELBO = KL(q, posterior): the cost of the approximation."),
    term("symmetry_gap", "symmetry gap", "What it costs to miss some of the equal modes.", is_part=True),
    term("family_gap", "family gap", "What even the best member of the family costs.", is_part=True),
    term("amortisation_gap", "amortisation gap", "What one encoder for all observations costs.", is_part=True),
    term("auxiliary_gap", "auxiliary gap", "What the density of a guide's auxiliary variable costs.", is_part=True),
    term("optimisation_gap", "optimisation gap", "The rest: what the optimiser left.", is_part=True),
    term("estimated", "estimated opt. gap", "The optimisation gap as estimated without knowing the optimum."),
)


class Unbalanced(ValueError):
    """A ledger whose equations do not hold even before rounding."""


def terms_from_json(ledger: Mapping[str, Any]) -> dict[str, Estimate | None]:
    """The terms of a ledger as ``summary.json`` holds it."""
    return {name: Estimate(term["value"], term["mcse"] or 0.0) if term else None for name, term in ledger.items()}


def term_value(terms: Terms, name: str) -> float | None:
    """The number of a term; None where there is none or it is not finite."""
    known = terms.get(name)
    return float(known.value) if known and known.value is not None and math.isfinite(known.value) else None


def mcse(terms: Terms, name: str) -> float:
    """The Monte Carlo error of a term; 0 where there is none."""
    known = terms.get(name)
    return known.mcse if known else 0.0


def common_digits(ledgers: Collection[Terms], log_evidence: float | None) -> int:
    """Decimals for all of these ledgers: 4; 6 where every ELBO is known that well; fewer where terms are huge."""
    values = [term_value(terms, name) for terms in ledgers for name in LEDGER_TERMS]
    largest = max((abs(value) for value in [*values, log_evidence] if value is not None), default=0.0)
    errors = [elbo.mcse for terms in ledgers if (elbo := terms.get("elbo"))]
    if largest < 1e3 and errors and max(errors) < 1e-6:
        return 6
    return 4 if largest < 1e4 else 2 if largest < 1e7 else 0


def apportion(parts: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to ``total``, each next to its part.

    Raises:
        Unbalanced: the parts do not sum to the total.
    """
    down = [math.floor(part) for part in parts]
    missing = total - sum(down)
    if not 0 <= missing <= len(parts):
        raise Unbalanced(f"the parts sum to {sum(parts):g} last digits, the whole is {total}")
    order = sorted(range(len(parts)), key=lambda i: (down[i] - parts[i], i))
    for i in order[:missing]:
        down[i] += 1
    return down


def rounded(
    terms: Terms, log_evidence: float | None, digits: int = 4, strict: bool = True
) -> dict[str, Decimal | None]:
    """The terms and ``log_evidence`` in ``digits`` decimals, as they are to be printed.

    A term that is absent stays None; an equation with an absent side binds nothing. An absent amortisation or
    auxiliary gap is 0.

    Raises:
        Unbalanced: an equation does not hold in ``terms`` itself; without ``strict`` its terms are rounded one by one.
    """
    known = {name: value for name in LEDGER_TERMS if (value := term_value(terms, name)) is not None}
    known |= {} if log_evidence is None else {"log_evidence": log_evidence}
    scaled = {name: value * 10.0**digits for name, value in known.items()}
    units = {name: math.floor(value + 0.5) for name, value in scaled.items()}

    def share(signs: Mapping[str, int], total: int) -> None:
        names = [name for name in signs if name in scaled]
        noisiest = max(names, key=lambda name: mcse(terms, name))
        left = signs[noisiest] * (total - sum(signs[name] * units[name] for name in names if name != noisiest))
        if abs(left - scaled[noisiest]) <= 1:  # the terms that are known stay at their nearest
            units[noisiest] = left
            return
        try:
            shares = apportion([signs[name] * scaled[name] for name in names], total)
        except Unbalanced as error:
            if strict:
                raise Unbalanced(f"{' + '.join(names)}: {error}") from None
            return
        units.update({name: signs[name] * number for name, number in zip(names, shares, strict=True)})

    if {"elbo", "data_fit", "complexity"} <= units.keys():
        share({"data_fit": 1, "complexity": -1}, units["elbo"])
    if {"log_evidence", "elbo", "evidence_gap"} <= units.keys():
        share({"evidence_gap": 1}, units["log_evidence"] - units["elbo"])
    if {"evidence_gap", "family_gap"} <= units.keys() and units.keys() & set(GAPS[2:]):
        share(dict.fromkeys(GAPS, 1), units["evidence_gap"])
    decimals = {name: Decimal(unit).scaleb(-digits) for name, unit in units.items()}
    return {name: decimals.get(name) for name in ("log_evidence", *LEDGER_TERMS)}


def printed_ledgers(
    ledgers: Mapping[str, Terms], evidence: Estimate | None, most: int = 6
) -> dict[str, dict[str, str]]:
    """The ledgers of a model's fits and the log evidence as text, all rounded alike, to at most ``most`` decimals."""
    log_evidence = evidence.value if evidence else None
    digits, texts = common_digits(ledgers.values(), log_evidence), {}
    for name, terms in ledgers.items():
        numbers = rounded(terms, log_evidence, digits, strict=False)
        known = {**terms, "log_evidence": evidence}
        texts[name] = {key: entry(number, known.get(key), min(digits, most)) for key, number in numbers.items()}
    return texts


def printed(comparison: Comparison) -> dict[str, dict[str, str]]:
    """The ledgers of those fits that have one, as text."""
    evidence = comparison.log_evidence
    known = None if evidence.value is None else Estimate(evidence.value, evidence.mcse or 0.0)
    return printed_ledgers({n: vars(s.ledger) for n, s in comparison.summaries.items() if s.ledger.elbo}, known)


def without_density(name: str, objective: Estimate) -> str:
    """Why a guide without a density has no number in the ledger."""
    return (
        f"{printable(name)} has no ledger: its objective, E_q[log p(x, z)] = {estimate(objective)} nats, is no bound, "
        "since q has atoms and KL(q, prior) is infinite (Hron, Matthews & Ghahramani 2018)."
    )


def ledgers(comparison: Comparison) -> Table | None:
    """A row a fit with its ledger, columns as in `TERMS`; None where no fit has one."""
    texts, known = printed(comparison), comparison.log_evidence.value
    terms = {name: vars(comparison.summaries[name].ledger) for name in texts}
    digits, rows, remarks = common_digits(terms.values(), known), [], ["ELBO = data fit - complexity"]
    if known is not None:
        absent = {key for key in ("symmetry_gap", "auxiliary_gap") if not any(term[key] for term in terms.values())}
        parts = [column.header for column in TERMS if column.key in GAPS and column.key not in absent]
        remarks.append(f"log evidence - ELBO = evidence gap = {' + '.join(parts)}")
    for name, summary in comparison.summaries.items():
        if summary.optimisation and summary.optimisation.objective:
            rows.append(Row(name, "", dict.fromkeys((term.key for term in TERMS), ABSENT) | {"fit": printable(name)}))
            remarks.append(without_density(name, summary.optimisation.objective))
    for name, text in texts.items():
        optimisation = comparison.summaries[name].optimisation
        estimated = estimate(optimisation.gap if optimisation else None)
        rows.append(Row(name, "", {"fit": printable(name), **text, "estimated": estimated}))
        if terms[name]["auxiliary_gap"] and terms[name]["family_gap"] and not terms[name]["optimisation_gap"]:
            remarks.append(f"The family gap of {printable(name)} includes what its optimiser left, which is not known.")
        try:
            rounded(terms[name], known, digits)
        except Unbalanced as error:
            remarks.append(f"The ledger of {printable(name)} does not balance: {error}.")
    title, lead = (
        "The ledger: what each step of the approximation cost",
        "In nats; sums hold to the last digit printed.",
    )
    return Table(title, (FIT, *TERMS), rows, lead, tuple(remarks)).without_empty_columns() if rows else None
