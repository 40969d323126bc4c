"""Templates of a program's arguments: a list of texts with placeholders, each argument of its own, never a shell."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# {{ and }} are braces; {name} is a parameter's value; {name?text} is the text where a boolean parameter is true.
_TOKEN = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z][A-Za-z0-9_]*)(?:\?(?P<flag>[^{}]+))?\}|[{}]")


@dataclass(frozen=True, slots=True)
class Placeholder:
    """Where a parameter's value goes or, with a ``flag``, that text if the parameter is true."""

    name: str
    flag: str | None = None


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: literal texts and placeholders, one after the other."""

    parts: tuple[str | Placeholder, ...]

    @classmethod
    def parse(cls, template: str) -> "Argument":
        """Read a template.

        Raises
        ------
        ValueError
            A brace is no placeholder's.
        """
        parts: list[str | Placeholder] = []
        end = 0
        for token in _TOKEN.finditer(template):
            parts.append(template[end : token.start()])
            end = token.end()
            if token["name"]:
                parts.append(Placeholder(token["name"], token["flag"]))
            elif len(token[0]) == 2:
                parts.append(token[0][0])
            else:
                raise ValueError(
                    f"{template!r} has a brace that belongs to no placeholder: those are {{name}} and "
                    "{name?text}, and a brace itself is written twice"
                )
        parts.append(template[end:])
        return cls(tuple(part for part in parts if part))

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """Its placeholders, in order."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    def render(self, values: Mapping[str, object]) -> str | None:
        """Return the argument; None where a parameter of it was not given, or a flag's is false."""
        texts = [part if isinstance(part, str) else _text(part, values[part.name]) for part in self.parts]
        return None if None in texts else "".join(text for text in texts if text is not None)


@dataclass(frozen=True, slots=True)
class Group:
    """Arguments that stand or fall together, such as an option and its value."""

    arguments: tuple[Argument, ...]

    @classmethod
    def parse(cls, template: str | Sequence[str]) -> "Group":
        """Read one element of the operator's list: a text, or a list of texts; ``ValueError`` as ``Argument.parse``."""
        texts = (template,) if isinstance(template, str) else template
        return cls(tuple(Argument.parse(text) for text in texts))

    def render(self, values: Mapping[str, object]) -> list[str]:
        """Return the arguments; none at all where one of them has nothing to say."""
        texts = [argument.render(values) for argument in self.arguments]
        return [] if None in texts else [text for text in texts if text is not None]


def placeholders(groups: Sequence[Group]) -> Iterator[Placeholder]:
    """Yield all placeholders."""
    for group in groups:
        for argument in group.arguments:
            yield from argument.placeholders


def render(groups: Sequence[Group], values: Mapping[str, object]) -> list[str]:
    """Return the arguments of one run; ``values`` holds every parameter, None where it was not given."""
    return [text for group in groups for text in group.render(values)]


def _text(placeholder: Placeholder, value: object) -> str | None:
    if placeholder.flag is not None:
        return placeholder.flag if value else None
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
