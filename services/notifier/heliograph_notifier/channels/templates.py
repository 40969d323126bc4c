"""The templates of mails: those that ship, and before them those that a site has in a folder of its own."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any, TypeVar

import structlog
from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PackageLoader,
    PrefixLoader,
    StrictUndefined,
    TemplateNotFound,
    nodes,
    select_autoescape,
)

from heliograph.channels import Row
from heliograph.notices.model import Occasion, Policy, SubjectKind

_WHEN_UNKNOWN = "when_unknown"
_BACKEND = re.compile(r"[a-z0-9_-]{1,64}")  # names a folder, and leads to no other
_Found = TypeVar("_Found")
_log = structlog.get_logger()


class Templates:
    """Finds and renders templates.

    A notice about a subject of ``kind``, for work of ``backend``, takes the first of these that is there:
    ``<backend>/<kind>.html``, ``<backend>/notice.html``, ``<kind>.html``, ``notice.html`` in the site's folder, then
    ``<kind>.html``, ``notice.html`` as they ship; likewise ``.txt``. A site's template may extend one that ships under
    the name ``shipped:notice.html``. Where one of the site's fails, that is logged once, and what ships is taken: no
    mail is lost. Files that change are read again.
    """

    def __init__(self, folder: Path | None) -> None:
        shipped = PackageLoader("heliograph_notifier")
        named = PrefixLoader({"shipped": shipped}, delimiter=":")
        self._shipped = _environment(ChoiceLoader([shipped, named]), auto_reload=False)
        self._ships = frozenset(shipped.list_templates())
        self._site = _environment(ChoiceLoader([FileSystemLoader(folder), named])) if folder else None
        self._folder = folder or Path()
        self._failing: set[str] = set()

    def render(self, form: str, kind: SubjectKind, backend: str | None, values: Mapping[str, Any]) -> str:
        """Return a notice as text or HTML; ``form`` is "txt" or "html"."""
        found = self._first(form, kind, backend, lambda among, name: among.get_template(name).render(values))
        assert found is not None, "a template for every kind ships"
        return found

    def when_unknown(self, kind: SubjectKind, backend: str | None) -> Mapping[Occasion, Policy]:
        """Return what happens to mails of whose arrival nothing is known, by occasion, as a template says.

        The first text template that has a line ``{% set when_unknown = {"test": "at-most-once"} %}`` decides; it is
        read and not run, so that it can be asked without a notice.
        """
        return self._first("txt", kind, backend, _stated) or {}

    def _first(
        self, form: str, kind: SubjectKind, backend: str | None, read: Callable[[Environment, str], _Found | None]
    ) -> _Found | None:
        """Return what ``read`` finds in the first template that is there and has it."""
        general = [f"{kind}.{form}", f"notice.{form}"]
        own = [f"{backend}/{name}" for name in general] if backend and _BACKEND.fullmatch(backend) else []
        if self._site is not None:
            for name in own + general:
                try:
                    found = _read(self._site, name, read)
                except Exception as error:  # noqa: BLE001 - what a site writes may raise anything
                    self._complain(name, error)
                    break
                if found is not None:
                    self._failing.discard(name)
                    return found
        ships = (read(self._shipped, name) for name in general if name in self._ships)
        return next((found for found in ships if found is not None), None)

    def _complain(self, name: str, error: Exception) -> None:
        if name not in self._failing:
            self._failing.add(name)
            _log.error(
                "a mail template of this site fails, the one that ships is taken",
                template=self._place(name, error), error=repr(error),
            )  # fmt: skip

    def _place(self, name: str, error: Exception) -> str:
        """Return the template and, where it is known, the line at which it failed."""
        path = self._folder / name
        lines = [frame.lineno for frame in extract_tb(error.__traceback__) if Path(frame.filename) == path]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        return f"{name}:{line}" if line else name


class _Unknown(StrictUndefined):
    """What a template names and nobody knows; of our own values it is said as the template writes it."""

    @property
    def _undefined_message(self) -> str:
        kind = type(self._undefined_obj)
        if kind.__module__.partition(".")[0] != "heliograph":
            return super()._undefined_message
        return f"{kind.__name__.lower()}.{self._undefined_name} is unknown"


def _environment(loader: BaseLoader, *, auto_reload: bool = True) -> Environment:
    """Return an environment in which an undefined name is an error rather than a gap, and HTML escapes its values."""
    environment = Environment(
        loader=loader, undefined=_Unknown, trim_blocks=True, lstrip_blocks=True, auto_reload=auto_reload,
        autoescape=select_autoescape(["html"], default=False),
    )  # fmt: skip
    environment.filters["longest_name"] = _longest_name
    return environment


def _longest_name(rows: Iterable[Row]) -> int:
    return max(len(name) for name, _ in rows)


def _read(among: Environment, name: str, read: Callable[[Environment, str], _Found | None]) -> _Found | None:
    try:
        return read(among, name)
    except TemplateNotFound as missing:
        if missing.name == name:
            return None
        raise  # it is there, and takes in another that is not


def _stated(among: Environment, name: str) -> Mapping[Occasion, Policy] | None:
    assert among.loader is not None
    source, _, _ = among.loader.get_source(among, name)
    for statement in among.parse(source, name).body:
        match statement:
            case nodes.Assign(target=nodes.Name(name=variable), node=nodes.Expr() as said) if variable == _WHEN_UNKNOWN:
                return {Occasion(occasion): Policy(policy) for occasion, policy in said.as_const().items()}
    return None
