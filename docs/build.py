"""Writes what the documents can take from the code: states, topology, settings, routes. `make docs`.

With ``--check`` it writes nothing and fails where a document is out of date, which a test does.
"""

import argparse
import json
import sys
from pathlib import Path

from pydantic_core import PydanticUndefined

from heliograph.bus.topology import EXCHANGES, QUEUES, hint_queue
from heliograph.events.model import JobEvent
from heliograph.jobs.states import STATES
from heliograph.settings import PREFIX, ServiceSettings
from heliograph_api.app import create_app
from heliograph_api.settings import ApiSettings
from heliograph_notifier.settings import NotifierSettings
from heliograph_worker.settings import WorkerSettings

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/build.py (make docs); edit the code it is taken from. -->\n"
KEY = "a key that only this document is made with"


def states() -> str:
    """Return the table and the diagram of states."""
    moves = [f"    {before} --> {after}" for before, row in STATES.items() for after in row.after if not row.over]
    again = [f"    {before} --> {after}: reopen" for before, row in STATES.items() for after in row.after if row.over]
    rows = [
        f"| `{state}` | {row.meaning} | {', '.join(sorted(row.after))}{' (by reopening)' if row.over else ''} |"
        f" {'yes' if row.told else 'at the start of a series' if state == 'queued' else 'no'} |"
        for state, row in STATES.items()
    ]
    diagram = ["```mermaid", "stateDiagram-v2", "    [*] --> queued", *sorted(moves), *sorted(again), "```"]
    table = ["| state | meaning | may go to | people are told |", "|---|---|---|---|", *rows]
    return "\n".join([NOTE, "# States of a job", "", *table, "", *diagram, ""])


def topology() -> str:
    """Return the topology as tables."""
    exchanges = [f"| `{each.name}` | {each.kind} | {_cell(each.purpose)} |" for each in EXCHANGES]
    queues = [
        f"| `{each.name}` | `{each.exchange}` | `{each.binding}` | {'quorum' if each.quorum else 'classic'} |"
        f" {each.purpose} |"
        for each in (*QUEUES, hint_queue("backend"))
    ]
    lines = [
        NOTE,
        "# Topology of the bus",
        "",
        "Exchanges are durable. `heliograph topology` prints the same.",
        "",
        *("| exchange | kind | what goes there |", "|---|---|---|", *exchanges, ""),
        *("| queue | bound to | by | kind | what for |", "|---|---|---|---|---|", *queues, ""),
        "Routing keys of events are `job.<state or progress>.<queue>.<told or plain>`. Bind what you like.",
        "",
        "## An event",
        "",
        "CloudEvents 1.0 in JSON, content type `application/cloudevents+json`. Its JSON Schema:",
        "",
        "```json",
        json.dumps(JobEvent.model_json_schema(), indent=2),
        "```",
        "",
    ]
    return "\n".join(lines)


def settings() -> str:
    """Return every setting of every service."""
    lines = [
        NOTE,
        "# Settings",
        "",
        f"Environment variables. A secret may stand in a file instead, named by `{PREFIX}<NAME>_FILE`. At its",
        f"start, a service logs a warning for each variable with `{PREFIX}` in front that no part of Heliograph knows,",
        "with the name that was probably meant.",
        "",
    ]
    services: list[tuple[str, type[ServiceSettings]]] = [
        ("Every service", ServiceSettings), ("api", ApiSettings), ("worker", WorkerSettings),
        ("notifier", NotifierSettings),
    ]  # fmt: skip
    for title, model in services:
        lines += [f"## {title}", "", "| variable | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            if model is not ServiceSettings and name in ServiceSettings.model_fields:
                continue
            if field.is_required():
                default = "**must be set**"
            elif field.default is PydanticUndefined:
                default = "from the machine"
            else:
                default = f"`{field.default}`" if field.default not in {None, ""} else "none"
            lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
        lines.append("")
    return "\n".join(lines)


def routes() -> str:
    """Return the routes of the api."""
    app = create_app(ApiSettings(mongodb_url="mongodb://", bus_url="memory://", signing_keys=(KEY,), identity_key=KEY))
    lines = [
        NOTE,
        "# Routes",
        "",
        "The whole document, with every model, is at `/openapi.json` and, to try out, at `/docs`.",
        "",
        "| | | |",
        "|---|---|---|",
    ]
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            about = operation.get("description", "").replace("\n", " ")
            lines.append(f"| `{method.upper()} {path}` | {operation['summary']} | {about} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


DOCUMENTS = {"states.md": states, "topology.md": topology, "settings.md": settings, "routes.md": routes}


def main() -> int:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a document is out of date")
    check = parser.parse_args().check
    stale = []
    for name, write in DOCUMENTS.items():
        path, text = REFERENCE / name, write()
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'out of date' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
