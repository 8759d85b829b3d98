"""The symmetry gap: what a guide loses by missing some of a posterior's equal modes.

A symmetry's regions have the same probability under the posterior. By the chain rule for relative entropy

    KL(q, posterior) = KL(q's shares of the regions, equal shares) + the mean of KL(q, posterior) within the regions,

and the first term is the symmetry gap: log(number of regions) - H, H the entropy of q's shares. So exp(H) is the number
of equal modes that q covers: one if q lies in one region, all if it has equal shares. Within a
region the posterior may have several modes, large and small; what q misses of these is in the second term.
"""

from __future__ import annotations

import math

import numpy as np

from compare import registry
from compare.comparison import Fit
from compare.measure.moments import digits
from compare.summary import Estimate
from models.plotting import flat_draws


def symmetry_gap(fit: Fit) -> Estimate | None:
    """The symmetry gap in nats, from the fit's draws; 0 of an exact posterior, None where no symmetry is declared."""
    symmetry = registry.load(fit.job.model).symmetry
    if symmetry is None:
        return None
    if fit.job.method == "exact":
        return Estimate(0.0)
    regions = symmetry.region(fit.job.data, flat_draws(fit.tree))
    return shares_gap(np.unique(regions, axis=0, return_counts=True)[1], symmetry.copies(fit.job.data))


def shares_gap(counts: np.ndarray, copies: int) -> Estimate:
    """log(copies) less the entropy of shares, from how many independent draws lie in each region.

    The entropy of the draws' shares is too small by (regions seen - 1) / (2 draws), which is added (Miller 1955). The
    error includes that half a draw may be missing from a region that was not seen.
    """
    n = counts.sum()
    shares = counts / n
    entropy = float(-shares @ np.log(shares))
    variance = max(float(shares @ np.log(shares) ** 2) - entropy**2, 0.0) / n
    unseen = (1 + math.log(2 * n)) / (2 * n) if len(counts) < copies else 0.0
    second = math.sqrt((len(counts) - 1) / 2) / n  # of the second order: all that is left where shares are equal
    gap = max(math.log(copies) - entropy - (len(counts) - 1) / (2 * n), 0.0)
    return Estimate(digits(gap, 12), digits(math.hypot(math.sqrt(variance), second, unseen), 6))
