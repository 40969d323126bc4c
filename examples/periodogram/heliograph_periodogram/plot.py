"""The picture: the series on top, its spectrum below."""

import io
from typing import TYPE_CHECKING

from heliograph_periodogram.series import Series
from heliograph_periodogram.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = (0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000)  # years
INK = "#1f2933"
LINE = "#0b5394"
PEAK = "#c2410c"
LEVEL = "#6b7280"


def draw(title: str, series: Series, spectrum: Spectrum) -> bytes:
    """Return the picture as PNG, 1350 x 1050 pixels."""
    # Here, since a worker imports this module for the backend's parameters alone. Figures without pyplot: it keeps
    # every figure of the process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - see above
    from matplotlib.figure import Figure  # noqa: PLC0415 - see above
    from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - see above

    figure = Figure(figsize=(9, 7), dpi=150, layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.1))  # pads in inches
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=15, color=INK, parse_math=False)  # a $ in it is a $
    above, below = figure.subplots(2, 1)
    _draw_series(above, series)
    _draw_spectrum(below, spectrum)
    for axes in (above, below):
        axes.tick_params(labelsize=11)
        axes.grid(visible=True, color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _draw_series(axes: "Axes", series: Series) -> None:
    order = sorted(range(len(series.times)), key=series.times.__getitem__)
    few = len(order) <= 1000  # more would run together
    axes.plot(
        [series.times[index] for index in order],
        [series.values[index] for index in order],
        color=LINE,
        linewidth=1,
        marker="o" if few else None,
        markersize=2.5,
    )
    axes.set_xlabel("Time (years)", fontsize=12)
    axes.set_ylabel(series.name, fontsize=12)
    axes.margins(x=0.01)


def _draw_spectrum(axes: "Axes", spectrum: Spectrum) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter  # noqa: PLC0415 - as in draw

    period = spectrum.period
    axes.plot(period, spectrum.power, color=LINE, linewidth=1.2)
    for probability, power in spectrum.levels.items():
        axes.axhline(power, color=LEVEL, linewidth=1, linestyle="--")
        axes.annotate(
            f"{100 * probability:g} % false alarm probability",
            (0, power),
            xycoords=axes.get_yaxis_transform(),
            xytext=(6, 3),
            textcoords="offset points",
            fontsize=10,
            color=LEVEL,
        )
    axes.plot(spectrum.peak_period, spectrum.peak_power, "v", color=PEAK, markersize=8)
    on_the_right = spectrum.peak_period > (float(period.min()) * float(period.max())) ** 0.5
    axes.annotate(
        f"{spectrum.peak_period:.4g} years\nfalse alarm probability {_power_of_ten(spectrum.false_alarm_probability)}",
        (spectrum.peak_period, spectrum.peak_power),
        xytext=(-12 if on_the_right else 12, 0),
        textcoords="offset points",
        horizontalalignment="right" if on_the_right else "left",
        verticalalignment="center",
        fontsize=12,
        color=PEAK,
    )
    axes.set_xscale("log")
    axes.set_xlim(float(period.min()), float(period.max()))
    axes.set_ylim(0, max(spectrum.peak_power, *spectrum.levels.values()) * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(list(TICKS)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("Period (years)", fontsize=12)
    axes.set_ylabel("Lomb-Scargle power", fontsize=12)


def _power_of_ten(number: float) -> str:
    """Write a small number as people do; a float ends at 5e-324."""
    if number == 0:
        return "below $10^{-300}$"
    if number >= 0.001:
        return f"{number:.2g}"
    digits, _, exponent = f"{number:.0e}".partition("e")
    return rf"${digits} \times 10^{{{int(exponent)}}}$"
