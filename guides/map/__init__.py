"""Map: one point, where log p(x, z) is highest over z as the model writes them (maximum a posteriori).

The density is that of the latents in their own space, without the Jacobian of any transform: what both libraries'
AutoDelta maximises. `laplace` and the zoo's optimiser stand on another mode, that of the unconstrained space: for a
positive s the density of log s is s times that of s, and its maximum lies higher. A mode moves with the space that it
is taken in; the posterior's mean and quantiles say the same in any.

A point has no density and no spread: its objective, log p(x, z) there, is no bound of the evidence, and KL(q,
posterior) is infinite. Where the density has no maximum, as that of a centred hierarchy whose scale may fall to 0, the
fit fails and says so.
"""

from __future__ import annotations

from guides.contract import Family

FAMILY = Family(has_density=False)
