"""Reading a directory that is written as YAML; what is wrong in it is told by line and field."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from heliograph_notifier.contacts.entry import Entry
from heliograph_notifier.contacts.port import Contact

MOST_FAULTS = 5  # told at once: the rest is likely to be the same mistake
_WORDS = {
    "extra_forbidden": "there is no such field",
    "list_type": "should be a list",
    "missing": "is missing",
    "model_type": "should have fields, such as email and role",
}


class ContactsFileError(ValueError):
    """The contact directory cannot be read as it is."""


class _Directory(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    people: dict[str, Entry] = {}
    subjects: dict[str, list[Entry]]


def read_directory(text: str) -> dict[str, tuple[Contact, ...]]:
    """Return the contacts of each subject.

    Raises
    ------
    ContactsFileError
        The text is no directory; the message names lines and fields.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ContactsFileError(_not_yaml(error)) from None
    if not isinstance(data, dict):
        raise ContactsFileError("line 1: a directory has the sections subjects and, for reuse, people")
    faults = [f"line {line}: {field} stands twice" for line, field in sorted(_twice(root))]
    people = data.get("people")
    try:
        directory = _Directory.model_validate(data, context=people if isinstance(people, dict) else {})
    except ValidationError as error:
        faults += [_fault(root, each) for each in error.errors(include_url=False, include_input=False)]
    except UnicodeEncodeError:
        faults += ["it holds half a character (a lone surrogate)"]
    else:
        if not faults:
            return {
                subject.strip(): tuple(entry.contact() for entry in entries)
                for subject, entries in directory.subjects.items()
            }
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    raise ContactsFileError("; ".join(faults[:MOST_FAULTS]) + more)


def _not_yaml(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"this is not YAML: {error}"
    return f"line {mark.line + 1}: this is not YAML: {getattr(error, 'problem', None) or 'it ends too early'}"


def _fault(root: yaml.Node | None, fault: Mapping[str, Any]) -> str:
    place = [str(part) for part in fault["loc"] if part != "[key]"]
    wrong = _WORDS.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")
    if "[key]" in fault["loc"]:
        wrong = "a name is text: write it in quotes"
    return f"line {_line(root, place)}: {'.'.join(place)}: {wrong}"


def _line(node: yaml.Node | None, place: Sequence[str]) -> int:
    """Return the line, from 1, of what a path leads to, or of the last that is there on the way."""
    line = node.start_mark.line + 1 if node else 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == part), None)
            if pair is None:
                return line  # what is wrong there was taken over from elsewhere, or is missing
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and part.isdecimal():
            node = node.value[int(part)]
            line = node.start_mark.line + 1
    return line


def _twice(root: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Find keys that stand twice in one mapping, of which YAML would silently drop the first."""
    waiting, seen = [root] if root else [], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue  # an alias
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                waiting.append(value)
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in names:
                        yield key.start_mark.line + 1, key.value
                    names.add(key.value)
