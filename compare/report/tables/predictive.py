"""Whether the model itself fits its data, as a table."""

from compare.comparison import Comparison
from compare.report.tables.numbers import ABSENT, measured, plain, printable
from compare.report.tables.table import Column, Row, Table

COLUMNS = (
    Column("site", "observed site", "", "The observed site.", True),
    Column("statistic", "statistic", "", "What is computed from all of its observations.", True),
    Column("data", "data", "", "The statistic of the data."),
    Column("p", "p", "", "The share of replicates with a larger one, ties by half; extreme near 0 or 1."),
)


def checks(comparison: Comparison) -> Table | None:
    """A row an observed site and statistic; None where nothing could be checked."""
    check = comparison.model_check
    if check is None or not check.statistics:
        return None
    rows = [
        Row("", "", dict(zip(("site", "statistic", "data", "p"), cells, strict=True)))
        for site, values in check.statistics.items()
        for cells in (
            *((printable(site), name, plain(p.observed), measured(p.value, p.mcse)) for name, p in values.items()),
            *(
                (printable(site), f"LOO-PIT of {pit.observations}", ABSENT, plain(pit.p_value))
                for pit in filter(None, [check.loo_pit.get(site)])
            ),
        )
    ]
    result = check.sentence or "no p-value is extreme"
    remark = f"Replicated data by the draws of {printable(check.fit or '')}: {printable(result)}."
    return Table("And the model?", COLUMNS, rows, remarks=(remark,), n_keys=2)
