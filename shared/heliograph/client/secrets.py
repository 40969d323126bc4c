"""Secret parameters on the command line: from a file or from a prompt, so that no history of a shell holds them."""

from pathlib import Path
from typing import Any

import typer


def put_secret(parameters: dict[str, Any], word: str) -> None:
    """Put a secret among the parameters: ``NAME`` is asked for, ``NAME=@FILE`` read; a dot leads into an object.

    Of a file, the line end after its last line is no part of the secret.
    """
    name, equals, source = word.partition("=")
    if equals and not source.startswith("@"):
        raise typer.BadParameter(
            f"the history of a shell keeps what stands here: give --secret {name}, and it is asked for, or "
            f"--secret {name}=@FILE"
        )
    *outer, last = name.split(".")
    place = parameters
    for each in outer:
        place = place.setdefault(each, {})
        if not isinstance(place, dict):
            raise typer.BadParameter(f"{each} is no object, and {name} cannot lie in it")
    if not last or last in place:
        raise typer.BadParameter(f"{name or word} is given twice" if last else f"{word} names no parameter")
    place[last] = _read(source[1:]) if equals else typer.prompt(name, hide_input=True, err=True)


def _read(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{file} is not text in UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")
