"""What can be seen of the containers without running one; scripts/compose-smoke runs them."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import TypeAdapter
from pydantic_core import PydanticUndefined

from heliograph.settings import PREFIX, ServiceSettings
from heliograph_api.settings import ApiSettings
from heliograph_notifier.settings import NotifierSettings
from heliograph_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "notifier": NotifierSettings,
}
PORT_SETTINGS = {"api": "port", "worker": "metrics_port", "notifier": "metrics_port"}

# The image decides on these, or they are no operator's.
NOT_FOR_OPERATORS = {"host", "port", "metrics_host", "metrics_port", "scratch", "worker_name", "fault_point"}
NEEDS_BUILDKIT = re.compile(r"--mount=|--chmod|--link|<<")

COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load(COMPOSE)


def dockerfile(service: str) -> str:
    return (ROOT / "services" / service / "Dockerfile").read_text(encoding="utf-8")


def seconds(period: str) -> float:
    assert period.endswith("s")
    return float(period[:-1])


@pytest.mark.parametrize("service", SETTINGS)
def test_each_service_is_given_its_own_settings_and_no_others(compose: Any, service: str) -> None:
    given = {name.removeprefix(PREFIX).lower() for name in compose["services"][service]["environment"]}
    assert given == SETTINGS[service].model_fields.keys() - NOT_FOR_OPERATORS


@pytest.mark.parametrize("service", SETTINGS)
def test_what_a_service_cannot_do_without_is_always_given(compose: Any, service: str) -> None:
    environment = compose["services"][service]["environment"]
    required = {name for name, field in SETTINGS[service].model_fields.items() if field.is_required()}
    assert required
    assert [name for name in required if not environment[f"{PREFIX}{name.upper()}"]] == []


def test_the_example_names_each_setting_of_the_compose_file_once(compose: Any) -> None:
    handed_on = {
        name
        for service in compose["services"].values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    in_example = re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE, re.MULTILINE)
    assert sorted(in_example) == sorted(handed_on | set(re.findall(r"\$\{(\w+)", COMPOSE)))


def test_each_setting_of_the_example_has_a_comment_above_it() -> None:
    lines = EXAMPLE.splitlines()
    bare = [
        line for above, line in pairwise(lines) if re.match(r"(# )?[A-Z_]+=", line) and not re.match(r"# .*\.$", above)
    ]
    assert bare == []


def test_secrets_are_empty_in_the_example_and_refused_by_name_when_empty() -> None:
    refused = dict(re.findall(r"\$\{(\w+):\?([^}]+)\}", COMPOSE))
    assert set(refused) == set(re.findall(r"^([A-Z_]+)=$", EXAMPLE, re.MULTILINE))
    assert all(name in sentence and "openssl rand -hex 32" in sentence for name, sentence in refused.items())


def test_the_defaults_that_the_example_shows_are_those_of_the_code() -> None:
    shown = {name.lower(): value for name, value in re.findall(rf"^# {PREFIX}([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE)}
    checked = set()
    for settings in SETTINGS.values():
        for name in shown.keys() & settings.model_fields.keys():
            field = settings.model_fields[name]
            if field.default in {None, PydanticUndefined, ()}:
                continue  # unset, or found out at start: the comment says so
            read: Any = Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            assert TypeAdapter[Any](read).validate_python(shown[name]) == field.default, name
            checked.add(name)
    assert len(checked) > 10


def test_only_the_api_and_the_mail_catcher_are_published_and_on_this_host_alone(compose: Any) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published.keys() == {"api", "mailpit"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert compose["networks"]["data"] == {"internal": True}
    assert all(compose["services"][name]["networks"] == ["data"] for name in ("mongo", "rabbitmq"))


def test_workers_can_be_many_and_have_time_to_drain(compose: Any) -> None:
    worker = compose["services"]["worker"]
    assert worker.keys().isdisjoint({"container_name", "hostname", "ports"})
    fields = WorkerSettings.model_fields
    assert (
        seconds(worker["stop_grace_period"]) >= fields["drain_seconds"].default + fields["grace_seconds"].default + 10
    )


def test_services_start_after_the_health_of_what_they_need_and_again_when_they_end(compose: Any) -> None:
    for name in SETTINGS:
        service = compose["services"][name]
        conditions = {needed: rule["condition"] for needed, rule in service["depends_on"].items()}
        assert conditions == {"mongo": "service_healthy", "rabbitmq": "service_healthy"}
        assert service["init"]
        assert service["cap_drop"] == ["ALL"]
    assert {service["restart"] for service in compose["services"].values()} == {"unless-stopped"}


def test_both_generations_of_compose_read_the_file(compose: Any) -> None:
    assert compose.keys().isdisjoint({"version", "name", "include"})
    assert not re.search(r"\$\{[^}]*\$\{", COMPOSE), "docker-compose 1.29 takes a nested default as plain text"
    # `start_interval` and the like of version 2 are refused by 1.29.
    known = {"test", "interval", "timeout", "start_period", "retries"}
    for service in compose["services"].values():
        assert service.get("healthcheck", {}).keys() <= known


@pytest.mark.parametrize("service", SETTINGS)
def test_an_image_runs_its_service_as_no_root_and_tells_its_health(service: str) -> None:
    build, final = dockerfile(service).split("\n\n\n")
    port = SETTINGS[service].model_fields[PORT_SETTINGS[service]].default
    assert re.findall(r"^USER (.*)$", final, re.MULTILINE) == ["10001:10001"]
    assert f"EXPOSE {port}\n" in final
    assert re.search(rf"^HEALTHCHECK [^\n]*\\\n .*'127\.0\.0\.1', {port}, .*'/healthz'", final, re.MULTILINE)
    assert final.endswith(f'CMD ["python", "-m", "heliograph_{service}"]\n')
    assert build.count("FROM python:3.11-slim-bookworm AS builder\n") == 1
    assert final.startswith("FROM python:3.11-slim-bookworm\n")
    instructions = re.sub(r"^#.*$", "", build + final, flags=re.MULTILINE)
    assert not NEEDS_BUILDKIT.search(instructions), "a builder that is no BuildKit refuses it"


@pytest.mark.parametrize("service", SETTINGS)
def test_an_image_is_built_of_the_shared_part_and_its_own(service: str) -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", dockerfile(service), re.MULTILINE)
    assert copied[:3] == ["constraints.txt", "shared", f"services/{service}"]
    assert copied[3:] in ([], ["."]), "the plugins' source stays in the builder"


def test_secrets_and_data_stay_out_of_the_build() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {".env", ".env.*", ".git", ".heliograph", ".venv"} <= set(ignored)
