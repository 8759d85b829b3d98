"""Flow: an inverse autoregressive flow (Kingma et al. 2016, equation 10) on independent Gaussians.

    z^0 = location + exp(log_scale) eps,      z^t = mean_t(z^(t-1)) + exp(log_scale_t(z^(t-1))) z^(t-1),  t = 1, 2

In the first step element d depends on the elements before it, in the second on those after it, through a layer of
tanh units (masked as in MADE: Germain et al. 2015) and a linear term. With the units' weights zero it is a Gaussian
with any covariance. Kingma et al. share the steps' networks among all images and let the encoder give them a context;
here the encoder gives the networks' weights themselves, so that each image has a member of the family of its own.
"""

from __future__ import annotations

from guides.contract import Family
from guides.flow.local_posterior import LOCAL_POSTERIOR

__all__ = ["FAMILY"]

FAMILY = Family(local_posterior=LOCAL_POSTERIOR, is_particular=True)
