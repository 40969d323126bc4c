"""How likely noise alone makes so high a peak: the bound of Baluev (2008, MNRAS 385, 1279), for standard normalisation.

Astropy has it too, but there it takes SciPy, which nothing else here needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, expm1, lgamma, pi, sqrt
from statistics import pvariance

STEPS = 60  # halvings of the interval from 0 to 1: as fine as a float


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise at ``rows`` times, searched up to a frequency; ``width`` is W of equation 5, the number of peaks, about."""

    rows: int
    width: float

    @classmethod
    def at(cls, times: Sequence[float], maximum_frequency: float) -> "Noise":
        """Take the times (years) at which there are values, and the end of the search (per year)."""
        return cls(len(times), maximum_frequency * sqrt(4 * pi * pvariance(times)))

    def false_alarm_probability(self, power: float) -> float:
        """Bound the probability that the highest power of noise is above this one; sharp where it is small."""
        single = float((1 - power) ** (0.5 * (self.rows - 3)))  # at one given frequency
        freedom = self.rows - 1
        gamma = sqrt(2 / freedom) * exp(lgamma(freedom / 2) - lgamma((freedom - 1) / 2))
        crossings = gamma * self.width * float((1 - power) ** (0.5 * (self.rows - 4))) * sqrt(0.5 * freedom * power)
        return -expm1(-crossings) + single * exp(-crossings)  # 1 - (1 - single) exp(-crossings), exact where small

    def power_at(self, probability: float) -> float:
        """Return the power whose false alarm probability that is."""
        low, high = self._highest_doubt(), 1.0
        for _ in range(STEPS):
            middle = (low + high) / 2
            if self.false_alarm_probability(middle) > probability:
                low = middle
            else:
                high = middle
        return high

    def _highest_doubt(self) -> float:
        # Below the power where most crossings are expected the bound falls again and means nothing.
        return 1 / (self.rows - 3)
