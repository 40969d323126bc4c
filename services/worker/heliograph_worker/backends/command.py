"""``[command.NAME]``: a program, started with arguments that are made of a job's parameters. No shell reads them."""

import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, Field, field_validator

from heliograph.backends import Backend, FatalError, JobContext, TransientError, UsageError
from heliograph.backends.result import MAX_BYTES
from heliograph_worker.backends.arguments import Group, placeholders, render
from heliograph_worker.backends.interpreters import find_exposures
from heliograph_worker.backends.mistakes import all_of
from heliograph_worker.backends.parameters import Boolean, File, Parameter, Text, model_of
from heliograph_worker.backends.program import Ended, Output, run_program
from heliograph_worker.backends.table import Table

Template = Annotated[str | Annotated[tuple[str, ...], Field(min_length=1)], Field(union_mode="left_to_right")]
ExitCode = Annotated[int, Field(ge=1, le=255)]
_OUTPUT = {"exit-code": Output.LOG, "stdout-json": Output.RESULT, "stdout-text": Output.BOTH}
ParameterName = Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]{0,63}$")]
VariableName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
# What the loader, shells and interpreters take for code, or for the place of some.
_CODE = re.compile(r"(LD|DYLD|BASH|NODE|JAVA|JDK|GIT|R)_.*|(PYTHON|PERL|RUBY).*|(CLASS)?PATH|ENV|IFS|SHELL|HOME")


class CommandTable(Table):
    """What the operator says of a command."""

    argv: tuple[Template, ...] = Field(min_length=1)
    parameters: dict[ParameterName, Parameter] = Field(default_factory=dict)
    environment: dict[VariableName, ParameterName] = Field(default_factory=dict)
    result: Literal["exit-code", "stdout-json", "stdout-text"] = "exit-code"
    artifacts: tuple[str, ...] = ()
    usage_codes: tuple[ExitCode, ...] = ()
    transient_codes: tuple[ExitCode, ...] = ()

    @field_validator("artifacts")
    @classmethod
    def _within_the_folder(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            path = PurePosixPath(pattern)
            if not path.parts or path.is_absolute() or ".." in path.parts:
                raise ValueError(f"{pattern!r} is no pattern of files in the job's folder, such as out/*.fits")
        return patterns


def make(name: str, table: CommandTable) -> Backend:
    """Make the backend.

    Raises
    ------
    ValueError
        The arguments and the parameters do not fit together, a caller's text would be run as code, or there is no
        such program on this worker.
    """
    with all_of() as found:
        program = found.collect(_program, table)
        groups = tuple(found.collect(_group, number, each) or Group(()) for number, each in enumerate(table.argv))
        found.add(_misuse(table, groups))
        model = found.collect(model_of_parameters, table)
    assert program
    assert model

    def run(parameters: BaseModel, job: JobContext) -> object:
        values = parameters.model_dump(by_alias=True)
        argv = [program, *render(groups[1:], values)]
        variables = {variable: values[name] for variable, name in table.environment.items() if values[name] is not None}
        ended = run_program(
            argv, job.scratch, output=_OUTPUT[table.result], called=table_program(table), variables=variables
        )
        _keep(table.artifacts, job)
        return _result(ended, table)

    return table.backend(name, model, run, about=f"Runs the program {table_program(table)}.")


def table_program(table: CommandTable) -> str:
    """Return the name of a command's program."""
    return PurePosixPath(str(table.argv[0])).name


def model_of_parameters(table: CommandTable) -> type[BaseModel]:
    """Make the model of a command's parameters; ``ValueError`` names the key that is wrong."""
    try:
        return model_of(table.parameters)
    except ValueError as error:
        raise ValueError(f"parameters.{error}") from None


def _program(table: CommandTable) -> str:
    """Return the program's path."""
    first = table.argv[0]
    if not isinstance(first, str) or any(brace in first for brace in "{}"):
        raise ValueError("argv.0: is the program itself, which no parameter chooses")
    if "/" in first and not first.startswith("/"):
        raise ValueError(f"argv.0: {first} is a path without a beginning; name a program on PATH or write a whole path")
    found = shutil.which(first)
    if found is None:
        raise ValueError(f"argv.0: there is no program {first} on this worker")
    return found


def _group(number: int, template: str | tuple[str, ...]) -> Group:
    try:
        return Group.parse(template)
    except ValueError as error:
        raise ValueError(f"argv.{number}: {error}") from None


def _misuse(table: CommandTable, groups: tuple[Group, ...]) -> Iterator[str]:
    """Yield where arguments and parameters do not fit together, or where a caller's text would be code."""
    used = set()
    for placeholder in dict.fromkeys(placeholders(groups)):
        parameter = table.parameters.get(placeholder.name)
        if parameter is None:
            yield f"argv: {{{placeholder.name}}} is no parameter; declare it in the table's parameters"
        elif placeholder.flag is not None and not isinstance(parameter, Boolean):
            yield f"argv: {{{placeholder.name}?{placeholder.flag}}} asks for a boolean parameter"
        elif _is_secret(parameter):
            yield (
                f"argv: {{{placeholder.name}}} is secret, and everybody on a host can read the arguments of its "
                "programs; hand it over in a variable, which the table's environment names"
            )
        used.add(placeholder.name)
    yield from _misused_variables(table)
    used |= set(table.environment.values())
    if groups and all(group.arguments for group in groups):  # one that cannot be read may have had the placeholder
        unused = {name: table.parameters[name] for name in sorted(table.parameters.keys() - used)}
        yield from (
            f"parameters.{name}: stands nowhere in {'environment' if _is_secret(each) else 'argv'}"
            for name, each in unused.items()
        )
    free = {
        name
        for name, each in table.parameters.items()
        if isinstance(each, File) or (isinstance(each, Text) and not each.choices)
    }
    optional = {name for name, each in table.parameters.items() if each.optional}
    yield from (exposure.told() for exposure in find_exposures(groups, free, optional))
    if both := set(table.usage_codes) & set(table.transient_codes):
        yield f"transient_codes: {min(both)} is one of the usage_codes as well"


def _is_secret(parameter: Parameter) -> bool:
    return isinstance(parameter, Text) and parameter.secret


def _misused_variables(table: CommandTable) -> Iterator[str]:
    for variable, name in table.environment.items():
        parameter = table.parameters.get(name)
        if parameter is None:
            yield f"environment.{variable}: {name} is no parameter; declare it in the table's parameters"
        elif not _is_secret(parameter):
            yield f"environment.{variable}: {name} is no secret text; other parameters stand in argv"
        if _CODE.fullmatch(variable.upper()):
            yield f"environment.{variable}: a caller's text would be code there, or choose what is run"


def _result(ended: Ended, table: CommandTable) -> Any:
    if ended.code in table.usage_codes:
        raise UsageError(ended.told())
    if ended.code in table.transient_codes:
        raise TransientError(ended.told())
    if ended.code:
        raise FatalError(ended.told())
    if table.result == "exit-code":
        return {"exit_code": 0}
    if ended.is_too_long:
        raise _too_long(ended)
    if table.result == "stdout-text":
        return _as_text(ended)
    try:
        return json.loads(ended.output)
    except (ValueError, RecursionError) as error:
        raise FatalError(f"{ended.program} wrote no JSON to its standard output: {error}") from None


def _as_text(ended: Ended) -> dict[str, str]:
    result = {"output": ended.output.decode(errors="replace")}
    if len(json.dumps(result, ensure_ascii=False).encode()) > MAX_BYTES:  # quotes and line ends take more as JSON
        raise _too_long(ended)
    return result


def _too_long(ended: Ended) -> FatalError:
    return FatalError(
        f"{ended.program} wrote more than {MAX_BYTES:,} bytes to its standard output; "
        "results of that size belong into files, which the table's artifacts name"
    )


def _keep(patterns: tuple[str, ...], job: JobContext) -> None:
    """Keep the files that the patterns name, each under its path with dashes for slashes."""
    found = sorted({path for pattern in patterns for path in job.scratch.glob(pattern)})
    for path in found:
        shown = path.relative_to(job.scratch).as_posix()
        with _regular_file(path, job.scratch) as file:
            if file is None:
                if not path.is_dir() or path.is_symlink():
                    job.log(f"heliograph: {shown!a} is not kept: it is no regular file of the job's folder")
                continue
            try:
                job.artifact(shown.replace("/", "-"), file)
            except ValueError as error:
                raise FatalError(str(error)) from None


@contextmanager
def _regular_file(path: Path, folder: Path) -> Iterator[BinaryIO | None]:
    """Open a regular file that lies in ``folder``, where its path leads through no link; None where it does not."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    lies = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not lies.is_relative_to(folder.resolve()):
        os.close(descriptor)
        yield None
        return
    with os.fdopen(descriptor, "rb") as file:
        yield file
