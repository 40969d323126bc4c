"""Pydantic's secrets among parameters: sent as what they hold, where the backend keeps them secret and only there."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import Secret, SecretStr

from heliograph.client.parameters import is_secret


class NotSecretError(ValueError):
    """A ``SecretStr`` in the place of a parameter that its backend does not call secret; nothing was sent."""


def revealed(parameters: Mapping[str, Any], schema: Callable[[], Any], name: str) -> dict[str, Any]:
    """Return parameters with what a ``SecretStr`` or a ``Secret`` among them holds in its place.

    Parameters
    ----------
    parameters
        As somebody gave them.
    schema
        Gets the JSON Schema that says which are secret; asked where there is one among them.
    name
        Of the backend or the queue.

    Raises
    ------
    NotSecretError
        It would have been stored and shown as it is.
    """
    if places := list(_secrets(parameters, ())):
        about = schema()
        for place in places:
            if not is_secret(about, place):
                dotted = ".".join(map(str, place))
                raise NotSecretError(
                    f"{dotted} is no secret parameter of {name}, and would be stored and shown as it is"
                )
    return {key: _plain(each) for key, each in parameters.items()}


def _secrets(value: Any, place: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, SecretStr | Secret):
        yield place
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _secrets(each, (*place, name))
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _secrets(each, (*place, number))


def _plain(value: Any) -> Any:
    if isinstance(value, SecretStr | Secret):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
