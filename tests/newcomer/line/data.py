"""Heights and weights of 15 women (World Almanac and Book of Facts 1975), the noise and the prior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.options import Data, option, parse_list, parse_number

INCHES = np.arange(58.0, 73.0) - 60
POUNDS = (115.0, 117.0, 120.0, 123.0, 126.0, 129.0, 132.0, 135.0, 139.0, 142.0, 146.0, 150.0, 154.0, 159.0, 164.0)


@dataclass(frozen=True)
class Women(Data):
    """Weights by height over five feet; the columns of the design are 1 and the height."""

    pounds: tuple[float, ...] = option(POUNDS, "the weights, one for each of the 15 heights", parse_list(parse_number))
    noise: float = option(1.5, "sd of a weight around the line, in pounds", parse_number)
    prior_sd: float = option(100.0, "prior sd of intercept and slope", parse_number)

    def __post_init__(self) -> None:
        if len(self.pounds) != len(INCHES) or not np.isfinite(self.pounds).all():
            raise ValueError(f"pounds are {len(self.pounds)} numbers: give {len(INCHES)} finite ones")
        if not (1e-2 <= self.noise <= 1e3 and 1e-2 <= self.prior_sd <= 1e4):
            raise ValueError(f"noise and prior_sd are {self.noise:g} and {self.prior_sd:g}: give 0.01 to 1,000")

    def arguments(self) -> dict[str, np.ndarray | np.float64]:
        design = np.column_stack([np.ones_like(INCHES), INCHES])
        sds = {"noise": np.float64(self.noise), "prior_sd": np.float64(self.prior_sd)}
        return {"design": design, "pounds": np.array(self.pounds), **sds}
