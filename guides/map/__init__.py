"""Map: one point, at a maximum of log p(x, z) over z as the model writes them (maximum a posteriori).

The density is that of the latents in their own space, without the Jacobian of any transform: what both libraries'
AutoDelta maximises. `laplace` and the zoo's optimiser stand on another mode, that of the unconstrained space: for a
positive s the density of log s is s times that of s, and its maximum lies at a larger s. A mode moves with the space
that it is taken in, as does a mean; the posterior's quantiles do not, under monotone transforms.

A point has no density and no spread: its objective, log p(x, z) there, is no bound of the evidence, and KL(q,
posterior) is infinite. The density of a centred hierarchy whose scale may fall to 0 has no maximum: the fit fails, and
says so, where its climb runs off; elsewhere it is a local maximum, perhaps not the highest, as where the groups are
well separated.
"""

from __future__ import annotations

from guides.contract import Family

FAMILY = Family(has_density=False)
