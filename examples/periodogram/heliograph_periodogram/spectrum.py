"""The search: power as a function of period, and how likely noise alone makes such a peak."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from types import MappingProxyType
from typing import TYPE_CHECKING

from heliograph.backends import UsageError
from heliograph_periodogram.series import Series
from heliograph_periodogram.significance import Noise

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_FREQUENCIES = 500_000  # half a minute for the most rows
LEVELS = (0.01, 0.0001)  # false alarm probabilities whose powers are shown


@dataclass(frozen=True, slots=True)
class Search:
    """Where to look: periods in years, and how many trial frequencies fall on the width of one peak."""

    minimum_period: float
    maximum_period: float
    samples_per_peak: int


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Power (standard normalisation: 0 to 1, the part of the variance explained) at each frequency (per year).

    ``levels`` maps a false alarm probability to the power that noise exceeds with it; ``false_alarm_probability`` is
    that of the highest peak.
    """

    frequency: "NDArray[np.float64]"
    power: "NDArray[np.float64]"
    peak: int
    false_alarm_probability: float
    levels: Mapping[float, float]

    @property
    def period(self) -> "NDArray[np.float64]":
        """In years, for each frequency."""
        return 1 / self.frequency

    @property
    def peak_period(self) -> float:
        """In years."""
        return float(1 / self.frequency[self.peak])

    @property
    def peak_power(self) -> float:
        """The highest power."""
        return float(self.power[self.peak])

    @property
    def is_at_edge(self) -> bool:
        """Whether the highest power lies at an end of the search, and so may be the flank of a peak outside."""
        return self.peak in {0, len(self.power) - 1}


def search(series: Series, where: Search) -> Spectrum:
    """Compute the generalised Lomb-Scargle periodogram (with a floating mean) and Baluev's false alarm probability.

    Raises
    ------
    UsageError
        The search is empty or too long; the message names the parameter.
    """
    count = _count(series, where)

    # Here, since a worker imports this module for its parameters alone, and these take most of a second.
    import numpy as np  # noqa: PLC0415 - see above
    from astropy.timeseries import LombScargle  # noqa: PLC0415 - see above

    frequency = np.linspace(1 / where.maximum_period, 1 / where.minimum_period, count)
    times = np.array(series.times) - min(series.times)
    values = np.array(series.values)
    scargle = LombScargle(times, values / np.abs(values).max())  # scaled, so that no square is too large or too small
    power = scargle.power(frequency, assume_regular_frequency=True)
    if not np.isfinite(power).all():
        raise UsageError("the values vary too little, compared with their size, for a periodogram")
    power = power.clip(0, 1)  # rounding takes it a hair outside
    peak = int(power.argmax())
    noise = Noise.at(series.times, float(frequency[-1]))
    return Spectrum(
        frequency=frequency,
        power=power,
        peak=peak,
        false_alarm_probability=noise.false_alarm_probability(float(power[peak])),
        levels=MappingProxyType({level: noise.power_at(level) for level in LEVELS}),
    )


def _count(series: Series, where: Search) -> int:
    """How many frequencies it takes: a peak is as wide as one cycle over the whole span."""
    if where.minimum_period >= where.maximum_period:
        raise UsageError(
            f"minimum_period_years: {where.minimum_period:g} is not below maximum_period_years "
            f"({where.maximum_period:g})"
        )
    width = 1 / where.minimum_period - 1 / where.maximum_period
    count = width * series.span * where.samples_per_peak
    if not count < MAX_FREQUENCIES:
        raise UsageError(
            f"minimum_period_years: {where.minimum_period:g} is too short for a series of {series.span:g} years: "
            f"it takes {count:,.0f} trial frequencies, and at most {MAX_FREQUENCIES:,} are computed"
        )
    return max(ceil(count), 2) + 1
