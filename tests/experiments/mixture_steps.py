"""How often NUTS diverges on the mixture's default data, by the acceptance that its steps are adapted to.

    python -m tests.experiments.mixture_steps [rates]

64 chains of NumPyro's own, with as long a warm-up as the fits' and 600 draws each.
"""

from __future__ import annotations

import sys
from functools import partial

import jax
import numpy as np
import numpyro
from numpyro.infer import MCMC, NUTS

from compare.options import Options
from models.mixture import MixtureData
from models.mixture.in_numpyro import model

__all__: list[str] = []

N_CHAINS, DRAWS = 64, 600
FIELDS = "diverging", "adapt_state.step_size", "num_steps"


def main() -> None:
    numpyro.enable_x64()
    arguments = MixtureData().arguments()
    program = partial(model, components=arguments.pop("components"))
    header = "acceptance", "chains that diverge", "transitions that diverge", "step sizes", "leapfrog steps"
    print(f"| {' | '.join(header)} |")
    print(f"|{' --- |' * len(header)}")
    for rate in map(float, sys.argv[1:] or ("0.8", "0.9", "0.95", "0.98")):
        kernel = NUTS(program, target_accept_prob=rate)
        size = {"num_warmup": Options().warmup, "num_samples": DRAWS, "num_chains": N_CHAINS}
        chains = MCMC(kernel, **size, chain_method="vectorized", progress_bar=False)
        chains.run(jax.random.key(1), extra_fields=FIELDS, **arguments)
        fields = chains.get_extra_fields(group_by_chain=True)
        diverging, sizes, steps = (np.asarray(fields[name]) for name in FIELDS)
        low, high = sizes[:, -1].min(), sizes[:, -1].max()
        counts = f"{int(diverging.any(axis=1).sum())} of {N_CHAINS}", f"{diverging.sum()} of {diverging.size:,}"
        row = f"{rate:g}", *counts, f"{low:.2f} to {high:.2f}", f"{steps.mean():.1f}"
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
