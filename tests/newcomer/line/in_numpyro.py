"""A line through weights by height in NumPyro."""

import numpyro
import numpyro.distributions as dist


def model(design, pounds, noise, prior_sd):
    """line ~ N(0, prior_sd), pounds ~ N(design line, noise)."""
    line = numpyro.sample("line", dist.Normal(0.0, prior_sd).expand([design.shape[-1]]).to_event(1))
    numpyro.sample("pounds", dist.Normal(design @ line, noise).to_event(1), obs=pounds)
