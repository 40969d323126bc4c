"""The backend: its parameters, and the order of its work."""

import io
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field

from heliograph.backends import InputFile, JobContext, Retry, UsageError, backend
from heliograph_periodogram.plot import draw
from heliograph_periodogram.series import MAX_ROWS, Series, from_rows, from_table, sunspots
from heliograph_periodogram.spectrum import Search, Spectrum, search


class Parameters(BaseModel):
    """What is searched, and where. Without ``table`` and ``rows``: the sunspot numbers of 1700 to 2008."""

    model_config = ConfigDict(extra="forbid")

    table: InputFile | None = Field(
        default=None, description="A CSV file of your own: time in years, value; a heading is optional."
    )
    rows: list[tuple[float, float]] | None = Field(
        default=None, max_length=MAX_ROWS, description="Or the series itself: [time in years, value] pairs."
    )
    minimum_period_years: float = Field(default=2, gt=0, description="The shortest period to look for.")
    maximum_period_years: float = Field(default=100, gt=0, le=1e9, description="The longest period to look for.")
    samples_per_peak: int = Field(
        default=10, ge=1, le=100, description="Trial frequencies on the width of one peak: how fine the search is."
    )
    title: str | None = Field(default=None, max_length=120, description="What to write above the plot.")


class Result(BaseModel):
    """The strongest period, and how sure it is."""

    title: str
    rows: int = Field(description="How many rows the series has.")
    first_time: float = Field(description="When the series begins (years).")
    last_time: float = Field(description="When it ends (years).")
    frequencies: int = Field(description="How many trial frequencies were computed.")
    peak_period_years: float = Field(description="The period with the highest power.")
    peak_power: float = Field(description="That power: the part of the variance that this period explains, 0 to 1.")
    false_alarm_probability: float = Field(description="How likely noise alone makes as high a peak (Baluev's bound).")


@backend(
    name="periodogram",
    version="1.0.0",
    title="Lomb-Scargle periodogram",
    timeout=timedelta(minutes=5),
    retry=Retry(),
)
def periodogram(parameters: Parameters, job: JobContext) -> Result:
    """Find the strongest period in a time series, sampled evenly or not.

    Leaves ``periodogram.png`` (the series and its spectrum) and ``spectrum.csv`` (period, frequency, power).
    """
    job.progress(0.0, stage="reading")
    series = _series(parameters)
    title = parameters.title or ("Periodogram" if _is_own(parameters) else "Sunspots, 1700 to 2008")
    job.log(f"{len(series.times)} rows over {series.span:g} years")

    job.progress(0.1, stage="searching")
    found = search(
        series,
        Search(parameters.minimum_period_years, parameters.maximum_period_years, parameters.samples_per_peak),
    )
    job.log(f"{len(found.frequency)} frequencies; the highest power is {found.peak_power:.3f}")
    if found.is_at_edge:
        job.log("The highest power lies at an end of the search: the true period may lie outside.")

    job.progress(0.5, stage="drawing")
    job.artifact("periodogram.png", draw(title, series, found), media_type="image/png")
    job.progress(0.9, stage="writing")
    job.artifact("spectrum.csv", _spectrum_csv(found), media_type="text/csv")
    job.progress(1.0, message=f"The strongest period is {found.peak_period:.2f} years.")
    return Result(
        title=title,
        rows=len(series.times),
        first_time=min(series.times),
        last_time=max(series.times),
        frequencies=len(found.frequency),
        peak_period_years=found.peak_period,
        peak_power=found.peak_power,
        false_alarm_probability=found.false_alarm_probability,
    )


def _is_own(parameters: Parameters) -> bool:
    return parameters.table is not None or parameters.rows is not None


def _series(parameters: Parameters) -> Series:
    match parameters.table, parameters.rows:
        case None, None:
            return sunspots()
        case None, rows if rows is not None:
            return from_rows(rows)
        case table, None if table is not None:
            return from_table(table)
    raise UsageError("table and rows are both given; give one of them")


def _spectrum_csv(spectrum: Spectrum) -> bytes:
    table = io.StringIO()
    table.write("period_years,frequency_per_year,power\n")
    for period, frequency, power in zip(spectrum.period, spectrum.frequency, spectrum.power, strict=True):
        table.write(f"{period:.6g},{frequency:.6g},{power:.6g}\n")
    return table.getvalue().encode()
