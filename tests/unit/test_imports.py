"""Who may import whom, and where the words of a database, a broker or a mail server may stand."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {"heliograph": ROOT / "shared", **{
    f"heliograph_{name}": ROOT / "services" / name for name in ("api", "worker", "notifier", "standalone")
}}  # fmt: skip
SERVICES = {"heliograph_api", "heliograph_worker", "heliograph_notifier"}

# Which modules may import a library, each with its reason.
LIBRARIES = {
    ("motor", "pymongo", "bson", "gridfs"): (
        "heliograph.storage",  # the database, behind a few names
        "heliograph_standalone.replica_set",  # speaks to its own mongod before there is a database to open
    ),
    ("aio_pika", "aiormq"): ("heliograph.bus",),  # RabbitMQ, behind the port
    ("aiosmtplib",): ("heliograph_notifier.channels",),  # mail, behind the channel
    ("fastapi", "starlette"): ("heliograph_api",),  # the worker's image has no web framework
    ("uvicorn",): ("heliograph_api.server", "heliograph_api.__main__", "heliograph_standalone"),  # who serves the api
    ("aiosmtpd",): ("heliograph_standalone",),  # the demo's mail catcher
    ("nio", "peewee", "vodozemac"): (
        "heliograph_notifier.channels.matrix",  # Matrix, behind the account
        "heliograph_standalone.matrix_demo",  # reads a room as its members do
    ),
    ("sqlalchemy", "pymysql", "yaml"): ("heliograph_notifier.contacts",),  # the contact directory, behind the port
}
# Where the operators of MongoDB may stand, each with its reason.
OPERATORS = (
    "heliograph.storage",  # writes and files
    "heliograph.jobs.store",
    "heliograph.notices.store", "heliograph.notices.due", "heliograph.notices.intervals", "heliograph.notices.indexes",
    "heliograph.notices.census",  # counts what is open
    "heliograph.notices.preferences",  # a store of one document for each person
    "heliograph.notices.mutes",  # a store of silences, read for a batch of jobs at once
    "heliograph.notices.watches",  # a store of who watches what
    "heliograph.notices.linked",  # a store of one document for each person, with the challenge that they answer
    "heliograph.notices.bulletins",  # a store of reports and tests
    "heliograph.notices.announced",  # a store of what notifiers announce
    "heliograph.notices.allowance",  # one write that counts and decides
    "heliograph.callbacks.store",
    "heliograph.locks",  # a store of one document for each lock
    "heliograph.announcements",  # a store of what workers announce
    "heliograph.queues.store",  # a store of what is declared
    "heliograph.identity.queue_tokens",  # a store of hashes
    "heliograph.dead.store",  # a store of dead letters
    "heliograph_notifier.channels.matrix.keeper",  # a store of one document for each account, with its lease
    "heliograph_notifier.channels.matrix.live_messages",  # a store of messages that are edited, and what they show
    "heliograph_notifier.campaigns.store",  # a store of what the notifier alone knows
    "heliograph_standalone.replica_set",  # initiates its replica set
)  # fmt: skip
NO_OPERATORS = {"$ref", "$defs", "$id", "$schema", "$dynamicRef", "$recursiveRef"}  # words of JSON Schema


@functools.cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the product by its name."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted((folder / package).rglob("*.py")):
            name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
            found[name] = ast.parse(path.read_text())
    return found


def imported(name: str, *, at_start: bool = False) -> set[str]:
    """Return what a module imports: modules where they are ours, else the dotted names that it states.

    ``at_start`` leaves out what only a function imports, or only a type checker.
    """
    found = set()
    nodes = _run_at_start(modules()[name]) if at_start else ast.walk(modules()[name])
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relative to itself"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names} & modules().keys()
            found |= inner if len(inner) == len(node.names) else inner | {base}
    return found


def _run_at_start(tree: ast.Module) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]
    return found


def is_within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def test_there_is_something_to_look_at() -> None:
    assert {name.partition(".")[0] for name in modules()} == set(SOURCES)
    assert "heliograph.storage" in imported("heliograph.jobs.store.jobs")


def test_what_is_shared_imports_no_service() -> None:
    others = tuple(SOURCES.keys() - {"heliograph"})
    wrong = [
        (name, other)
        for name in modules()
        if is_within(name, ("heliograph",))
        for other in imported(name)
        if is_within(other, others)
    ]
    assert wrong == []


def test_a_service_imports_no_neighbour() -> None:
    """The standalone alone may: it is the three in one process."""
    wrong = []
    for name in modules():
        own = name.partition(".")[0]
        neighbours = tuple((SERVICES | {"heliograph_standalone"}) - {own})
        if own in SERVICES:
            wrong += [(name, other) for other in imported(name) if is_within(other, neighbours)]
    assert wrong == []


@pytest.mark.parametrize(("libraries", "homes"), LIBRARIES.items(), ids=lambda value: value[0])
def test_a_library_is_imported_in_its_home_alone(libraries: tuple[str, ...], homes: tuple[str, ...]) -> None:
    users = {name for name in modules() for other in imported(name) if is_within(other, libraries)}
    assert users, "the rule has nothing to hold"
    assert {name for name in users if not is_within(name, homes)} == set()


def test_operators_of_the_database_stand_in_stores_alone() -> None:
    wrong = {
        (name, node.value)
        for name, tree in modules().items()
        if not is_within(name, OPERATORS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"\$\$?[a-zA-Z]\w*", node.value)
        and node.value not in NO_OPERATORS
    }
    assert wrong == set()


def test_the_command_line_starts_without_a_database() -> None:
    """The driver alone takes 0.15 s to import."""
    found, waiting = set(), {"heliograph.client.cli"}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= (imported(name, at_start=True) & modules().keys()) - found
    assert "heliograph.client.client" in found
    assert {name for name in found if is_within(name, ("heliograph.storage",))} == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name in done:
            return
        for other in sorted(imported(name, at_start=True) & modules().keys()):
            if not name.startswith(f"{other}."):  # a package is imported before what it holds
                visit(other, (*path, name))
        done.add(name)

    for name in modules():
        visit(name, ())
