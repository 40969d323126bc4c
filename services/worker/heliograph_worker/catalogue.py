"""The backends that this worker has: what is installed or declared, and what could not be used and why."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType

import structlog

from heliograph.backends.backend import ENTRY_POINTS, Backend
from heliograph_worker.account import Account
from heliograph_worker.backends.declared import Declaration, DeclarationError, read
from heliograph_worker.sources import leads_nowhere, resolve, source_of

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is installed or declared, by the backends' names.

    ``sources`` says of what a child process makes each (``module:attribute``, or a declaration's text); ``accounts``
    under which account the jobs of those run that take code from their callers; ``broken`` maps each place that is of
    no use (``module:attribute``, or a file and its table) to the reason.
    """

    backends: Mapping[str, Backend]
    sources: Mapping[str, str]
    broken: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    accounts: Mapping[str, Account] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def load(cls, declared: Path | None = None) -> "Catalogue":
        """Find the backends that installed distributions announce by entry point, and those of the operator's file.

        Raises
        ------
        BackendsFileError
            That file cannot be read.
        """
        return cls.of((point.value for point in entry_points(group=ENTRY_POINTS)), declared)

    @classmethod
    def of(cls, sources: Iterable[str | Backend], declared: Path | None = None) -> "Catalogue":
        """Make a catalogue of import strings, or of backends that decorate a module's function, and of a file's tables.

        One that cannot be imported is left out, and so are all that claim the same name: which of them a job means
        would depend on chance. Both are logged and listed in ``broken``.
        """
        found: dict[str, dict[str, _Found]] = {}
        broken: dict[str, str] = {}
        for place, look in _candidates(sources, declared):
            try:
                each = look()
                each.backend.schema()
            except DeclarationError as error:
                broken[place] = str(error)
                _log.warning("backend.broken", source=place, reason=broken[place])
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's import may raise anything
                broken[place] = f"{type(error).__name__}: {error}"
                about = {} if leads_nowhere(place, error) else {"exc_info": error}
                _log.warning("backend.broken", source=place, reason=broken[place], **about)
            else:
                found.setdefault(each.backend.name, {})[place] = each
        for name, rivals in list(found.items()):
            if len(rivals) > 1:
                del found[name]
                reason = f"the name {name} is claimed by {' and '.join(sorted(rivals))}"
                broken.update(dict.fromkeys(rivals, reason))
                _log.warning("backend.ambiguous", backend=name, sources=sorted(rivals))
        named = {name: next(iter(places.values())) for name, places in sorted(found.items())}
        return cls(
            backends=MappingProxyType({name: each.backend for name, each in named.items()}),
            sources=MappingProxyType({name: each.source for name, each in named.items()}),
            broken=MappingProxyType(broken),
            accounts=MappingProxyType({name: each.account for name, each in named.items() if each.account}),
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """A backend that can be used."""

    backend: Backend
    source: str
    account: Account | None = None


def _candidates(sources: Iterable[str | Backend], declared: Path | None) -> Iterable[tuple[str, Callable[[], _Found]]]:
    """Yield each place where there should be a backend, and what looks there."""
    for given in sources:
        source = given if isinstance(given, str) else source_of(given)
        yield source, partial(_installed, source)
    for declaration in read(declared) if declared else ():
        yield declaration.place, partial(_declared, declaration)


def _installed(source: str) -> _Found:
    return _Found(resolve(source), source)


def _declared(declaration: Declaration) -> _Found:
    backend, account = declaration.load()
    return _Found(backend, declaration.source, account)
