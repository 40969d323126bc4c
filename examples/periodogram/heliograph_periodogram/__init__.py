"""An example backend: the Lomb-Scargle periodogram of a time series, by default of the sunspot numbers."""

from heliograph_periodogram.backend import periodogram

__all__ = ["periodogram"]
