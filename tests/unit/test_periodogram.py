"""The example backend: the sunspot cycle from real data, and clear words for data that cannot be used."""

import csv
import io
import math
import random
import subprocess
import sys
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from heliograph.backends import Backend, UsageError
from heliograph.jobs.states import ErrorKind
from heliograph.testing import FakeJob
from heliograph_periodogram.backend import Parameters, Result, periodogram
from heliograph_periodogram.series import Series
from heliograph_periodogram.significance import Noise
from heliograph_periodogram.spectrum import Search, search


@pytest.fixture
def job(tmp_path: Path) -> FakeJob:
    return FakeJob(tmp_path)


def run(job: FakeJob, **parameters: Any) -> Result:
    result = periodogram.function(Parameters.model_validate(parameters), job)
    assert isinstance(result, Result)
    return result


def wave(period: float, rows: int = 200, step: float = 1.0) -> list[tuple[float, float]]:
    return [(1800 + step * n, 3 + math.sin(2 * math.pi * step * n / period)) for n in range(rows)]


def test_it_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="heliograph.backends", name="periodogram")
    backend = found.load()
    assert isinstance(backend, Backend)
    assert (backend.name, backend.version, backend.timeout) == ("periodogram", "1.0.0", timedelta(minutes=5))
    properties = backend.schema()["properties"]
    assert {"type": "string", "format": "heliograph-file"} in properties["table"]["anyOf"]
    assert all("description" in field for field in properties.values())


def test_the_sunspot_cycle_is_found(job: FakeJob) -> None:
    result = run(job)
    assert 10.5 < result.peak_period_years < 11.5
    assert (result.rows, result.first_time, result.last_time) == (309, 1700, 2008)
    assert 0.2 < result.peak_power < 1
    assert result.false_alarm_probability < 1e-10
    assert result.title == "Sunspots, 1700 to 2008"
    assert [report.message for report in job.reports if report.message] == [
        f"The strongest period is {result.peak_period_years:.2f} years."
    ]


def test_progress_goes_forward_through_named_stages(job: FakeJob) -> None:
    run(job)
    assert [report.stage for report in job.reports if report.stage] == ["reading", "searching", "drawing", "writing"]
    fractions = [report.fraction for report in job.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


def test_the_plot_is_a_picture_of_readable_size(job: FakeJob) -> None:
    run(job)
    picture = job.artifacts["periodogram.png"].content
    assert picture.startswith(b"\x89PNG")
    assert (int.from_bytes(picture[16:20]), int.from_bytes(picture[20:24])) == (1350, 1050)


def test_a_title_is_no_formula(job: FakeJob) -> None:
    assert run(job, title=r"$\frac{1 \nonsense$").title == r"$\frac{1 \nonsense$"


def test_the_spectrum_holds_the_peak(job: FakeJob) -> None:
    result = run(job)
    rows = list(csv.DictReader(io.StringIO(job.artifacts["spectrum.csv"].text)))
    assert len(rows) == result.frequencies
    highest = max(rows, key=lambda row: float(row["power"]))
    assert float(highest["period_years"]) == pytest.approx(result.peak_period_years, rel=1e-5)
    assert 1 / float(highest["frequency_per_year"]) == pytest.approx(result.peak_period_years, rel=1e-5)
    assert all(2 <= float(row["period_years"]) <= 100 for row in rows)


def test_rows_given_with_the_job_are_searched(job: FakeJob) -> None:
    result = run(job, rows=wave(7.5), title="A wave")
    assert result.peak_period_years == pytest.approx(7.5, rel=0.01)
    assert result.title == "A wave"
    assert result.false_alarm_probability == pytest.approx(0, abs=1e-100)


def test_an_uploaded_table_is_searched(job: FakeJob, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    lines = ["time,value,flag", "# a comment", "", *(f"{time},{value},good" for time, value in wave(0.5, step=0.03))]
    table.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    result = run(job, table=str(table), minimum_period_years=0.1, maximum_period_years=5)
    assert result.peak_period_years == pytest.approx(0.5, rel=0.01)
    assert result.rows == 200


def test_a_table_saved_by_a_spreadsheet_without_a_heading_keeps_its_first_row(job: FakeJob, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("".join(f"{time},{value}\n" for time, value in wave(7)), encoding="utf-8-sig")
    assert run(job, table=str(table)).rows == 200


def test_noise_passes_the_level_of_a_false_alarm_as_rarely_as_that_says(job: FakeJob) -> None:
    dice = random.Random(11)
    alarms = 0
    for _ in range(300):
        times = sorted(dice.uniform(0, 60) for _ in range(40))
        noise = Series("Noise", tuple(times), tuple(dice.gauss() for _ in times))
        alarms += search(noise, Search(2, 50, 5)).false_alarm_probability < 0.1
    assert 10 <= alarms <= 40  # 30 are expected at most, as it is a bound


def test_levels_are_the_powers_of_their_probabilities() -> None:
    noise = Noise.at([float(year) for year in range(309)], 0.5)
    for probability in (0.5, 0.1, 0.01, 0.0001):
        assert noise.false_alarm_probability(noise.power_at(probability)) == pytest.approx(probability, rel=1e-6)


def test_a_peak_at_the_end_of_the_search_is_remarked_on(job: FakeJob) -> None:
    run(job, rows=wave(21), maximum_period_years=20)
    assert "The highest power lies at an end of the search: the true period may lie outside." in job.lines


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (wave(7)[:9], "9 rows are too few; at least 10 are needed"),
        ([], "0 rows are too few"),
        ([*wave(7), (1900, math.nan)], r"rows\[200\]: the value is nan, not a finite number"),
        ([(math.inf, 1), *wave(7)], r"rows\[0\]: the time is inf, not a finite number"),
        ([*wave(7), (1900, 1e101)], r"rows\[200\]: the value 1e\+101 is beyond 1e\+100"),
        ([(1900, n) for n in range(20)], r"all times are alike \(1900\)"),
        ([(n, 5) for n in range(20)], r"all values are alike \(5\)"),
        ([(n * 1e6, n % 7) for n in range(20)], "is too short for a series of 1.9e.07 years"),
    ],
)
def test_rows_that_cannot_be_used_are_refused_by_name(
    job: FakeJob, rows: list[tuple[float, float]], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        run(job, rows=rows)
    assert not job.artifacts


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("1900;5", "table, line 12: has no comma"),
        ("1900,five", "table, line 12: 'five' is not a number"),
        ("nineteen,5", "table, line 12: 'nineteen' is not a number"),
        ("1900,nan", "table, line 12: the value is nan, not a finite number"),
        ("1900,5\n1901,", "table, line 13: '' is not a number"),
    ],
)
def test_a_bad_line_of_a_table_is_refused_by_number(job: FakeJob, tmp_path: Path, line: str, complaint: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text("YEAR,VALUE\n" + "".join(f"{year},{year % 3}\n" for year in range(1880, 1890)) + line + "\n")
    with pytest.raises(UsageError, match=complaint):
        run(job, table=str(table))


def test_a_heading_with_a_number_in_it_is_a_bad_line(job: FakeJob, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("1900,n/a\n")
    with pytest.raises(UsageError, match="table, line 1: 'n/a' is not a number"):
        run(job, table=str(table))


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"YEAR,VALUE\n1900,\xff\n"])
def test_a_file_that_is_no_table_is_refused(job: FakeJob, tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(content)
    with pytest.raises(UsageError, match="is not a CSV file in UTF-8"):
        run(job, table=str(table))


def test_a_table_with_a_zero_byte_is_refused(job: FakeJob, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(b"YEAR,VALUE\n1900,\x001\n")
    with pytest.raises(UsageError, match="table, line 2"):
        run(job, table=str(table))


def test_table_and_rows_together_are_refused(job: FakeJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both given") as caught:
        run(job, rows=wave(7), table=str(tmp_path / "table.csv"))
    assert caught.value.kind is ErrorKind.USAGE


def test_periods_the_wrong_way_round_are_refused(job: FakeJob) -> None:
    with pytest.raises(UsageError, match="minimum_period_years: 20 is not below maximum_period_years"):
        run(job, minimum_period_years=20, maximum_period_years=10)


@pytest.mark.parametrize(
    "parameters",
    [{"minimum_period_years": 0}, {"samples_per_peak": 0}, {"title": "x" * 121}, {"rows": [[1, 2, 3]]}, {"perid": 3}],
)
def test_parameters_outside_the_schema_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parameters.model_validate(parameters)


def test_reading_the_schema_imports_nothing_heavy() -> None:
    program = (
        "import sys, heliograph_periodogram; heliograph_periodogram.periodogram.schema();"
        "assert not {'numpy', 'astropy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_needs_no_network_and_leaves_no_astropy_settings_at_home(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
def watch(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(watch)
sys.path.insert(0, sys.argv[1])
from test_periodogram import FakeJob, run
run(FakeJob(Path(sys.argv[2])))
"""
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert not [path for path in home.rglob("*") if "astropy" in path.name]
