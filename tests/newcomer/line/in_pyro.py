"""A line through weights by height in Pyro."""

import pyro
import pyro.distributions as dist


def model(design, pounds, noise, prior_sd):
    """line ~ N(0, prior_sd), pounds ~ N(design line, noise)."""
    line = pyro.sample("line", dist.Normal(0.0, prior_sd).expand([design.shape[-1]]).to_event(1))
    pyro.sample("pounds", dist.Normal(design @ line, noise).to_event(1), obs=pounds)
