"""Eight schools against what others published: python -m tests.experiments.published [library] [seeds].

First the posterior means of posteriordb beside the quadrature's, the reference's and mean field's, in units of the
schools. Then k-hat of mean field on the non-centred form with the priors of Yao et al. 2018, over the seeds.
"""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
from scipy import stats

from compare import compare, user_model
from compare.comparison import Job
from compare.fit import run
from compare.measure.measures import measure
from compare.options import Options
from compare.summary import to_json
from tests.eight_schools import KHAT, NAMES, POSTERIORDB, quadrature


def means(library: str) -> None:
    """The ten posterior means that posteriordb lists."""
    module = import_module(f"tests.user_models.eight_schools_{library}")
    guides = {"nuts": False, "guides": ["mean_field", "full_rank"]}
    fits = compare(module.non_centred, module.data, library, **guides, reference_ess=4000.0).summary["fits"]
    print("| mean of | posteriordb | quadrature | " + " | ".join(f"`{name}`" for name in fits) + " |")
    print("| --- |" + " ---: |" * (2 + len(fits)))
    exact, away = quadrature(), []
    for name, published, error, value in zip(NAMES, *POSTERIORDB.values(), exact, strict=True):
        rows = [fit["variables"][name] for fit in fits.values()]
        cells = [f"{row['mean']:.3f} ± {row['mcse_mean']:.3f}" for row in rows]
        print(f"| {name} | {published:.3f} ± {error:.3f} | {value:.4f} | " + " | ".join(cells) + " |")
        away.append((published - value) / error)
        away.append((rows[0]["mean"] - value) / rows[0]["mcse_mean"])
    print(f"\nposteriordb is within {np.abs(away[::2]).max():.1f} of its standard errors of the quadrature,", end=" ")
    print(f"the reference within {np.abs(away[1::2]).max():.1f} of its own.")
    for name, fit in fits.items():
        if fit["diagnostics"]["khat"] is not None:
            print(f"{name}: k-hat {fit['diagnostics']['khat']:.2f}, verdict {fit['verdict']['word']}")


def khat(library: str, seeds: int) -> None:
    """k-hat of the converged fit with Yao et al.'s priors, where they report 0.65."""
    import_module(f"compare.user_model.in_{library}")
    mine = user_model.register(import_module(f"tests.user_models.yao_{library}").model, library)
    given = user_model.data_of(mine, import_module(f"tests.user_models.eight_schools_{library}").data)
    khats = []
    for seed in range(seeds):
        job = Job(f"{library}-mean_field", mine.name, given, "svi", library, "mean_field", seed, Options())
        summary = to_json(measure(run(job), None, None))
        khats.append(summary["diagnostics"]["khat"])
        arrived = "converged" if summary["optimisation"]["converged"] else "not converged"
        print(
            f"seed {seed}: k-hat {khats[-1]:.3f}, ELBO {summary['ledger']['elbo']['value']:.3f}, {arrived}", flush=True
        )
    print(f"{library}: {np.mean(khats):.2f} ± {np.std(khats, ddof=1):.2f} over {seeds} seeds; published {KHAT}")
    exact = quadrature(50.0, stats.halfnorm(scale=25.0))
    print(f"posterior means with these priors by quadrature: mu {exact[8]:.3f}, tau {exact[9]:.3f}")


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "numpyro"
    means(chosen)
    khat(chosen, int(sys.argv[2]) if len(sys.argv) > 2 else 10)
