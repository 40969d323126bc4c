"""Secret parameters on the command line: from a file or from a prompt, so that no history of a shell holds them."""

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from getpass import GetPassWarning, getpass
from pathlib import Path
from typing import Any

import typer

from heliograph.client.parameters import is_secret, secret_names

_STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class SecretWord:
    """What ``--secret`` says: the name, dotted, and the file that holds the secret; None: it is asked for."""

    name: str
    file: str | None

    @classmethod
    def of(cls, word: str) -> "SecretWord":
        """Read ``NAME``, ``NAME=@FILE`` or ``NAME=@-``; the secret itself is refused."""
        name, equals, source = word.partition("=")
        if equals and not source.startswith("@"):
            raise typer.BadParameter(
                f"the history of a shell keeps what stands here: give --secret {name}, and it is asked for, or "
                f"--secret {name}=@FILE"
            )
        if not all(name.split(".")):
            raise typer.BadParameter(f"{word} names no parameter")
        return cls(name, source[1:] if equals else None)

    def read(self) -> str:
        """Return the secret. Of a file, the line end after its last line is no part of it."""
        return _asked(self.name) if self.file is None else _read(self.file)


def put_secrets(parameters: dict[str, Any], words: Iterable[SecretWord], schema: Any, backend: str) -> None:
    """Put secrets among the parameters; each is read only where the schema of the backend calls it secret."""
    for word in words:
        *outer, last = place = word.name.split(".")
        here = parameters
        for part in outer:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                raise typer.BadParameter(
                    f"{part} is no object, and {word.name} cannot lie in it; what lies in a list is given with the "
                    "parameters, in a file: @FILE"
                )
        if last in here:
            raise typer.BadParameter(f"{word.name} is given twice")
        if not is_secret(schema, place):
            there = ", ".join(secret_names(schema))
            raise typer.BadParameter(
                f"{word.name} is no secret parameter of {backend}, and would be stored and shown as it is; "
                + (f"secret there: {there}" if there else "there is none")
            )
        here[last] = word.read()


def _asked(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GetPassWarning)  # it would read what is typed, or piped, in sight
        try:
            while not (text := getpass(f"{name}: ")):
                pass
        except GetPassWarning:
            raise typer.BadParameter(
                f"there is no terminal to ask for {name}: give --secret {name}=@FILE, or --secret {name}=@- to read it "
                "from standard input"
            ) from None
    return text


def _read(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == _STANDARD_INPUT else Path(file).expanduser().read_bytes()
        text = data.decode()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except RuntimeError as error:  # of ~nobody
        raise typer.BadParameter(f"{file} cannot be read: there is no such home") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not text in UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")
