"""The backends that this worker has: what is installed, and what could not be used and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from types import MappingProxyType

import structlog

from heliograph.backends.backend import ENTRY_POINTS, Backend
from heliograph_worker.sources import resolve, source_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is installed, by the backends' names.

    ``sources`` says where each is found (``module:attribute``), which is what a child process imports; ``broken``
    maps each source that is of no use to the reason.
    """

    backends: Mapping[str, Backend]
    sources: Mapping[str, str]
    broken: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def load(cls) -> "Catalogue":
        """Find the backends that installed distributions announce by entry point."""
        return cls.of(point.value for point in entry_points(group=ENTRY_POINTS))

    @classmethod
    def of(cls, sources: Iterable[str | Backend]) -> "Catalogue":
        """Make a catalogue of import strings, or of backends that decorate a module's function.

        One that cannot be imported is left out, and so are all that claim the same name: which of them a job means
        would depend on chance. Both are logged and listed in ``broken``.
        """
        found: dict[str, dict[str, Backend]] = {}
        broken: dict[str, str] = {}
        for given in sources:
            source = given if isinstance(given, str) else source_of(given)
            try:
                backend = resolve(source)
                backend.schema()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's import may raise anything
                broken[source] = f"{type(error).__name__}: {error}"
                _log.warning("backend.broken", source=source, reason=broken[source], exc_info=error)
            else:
                found.setdefault(backend.name, {})[source] = backend
        for name, rivals in list(found.items()):
            if len(rivals) > 1:
                del found[name]
                reason = f"the name {name} is claimed by {' and '.join(sorted(rivals))}"
                broken.update(dict.fromkeys(rivals, reason))
                _log.warning("backend.ambiguous", backend=name, sources=sorted(rivals))
        named = {name: next(iter(places.items())) for name, places in sorted(found.items())}
        return cls(
            backends=MappingProxyType({name: backend for name, (_, backend) in named.items()}),
            sources=MappingProxyType({name: source for name, (source, _) in named.items()}),
            broken=MappingProxyType(broken),
        )
