"""Settings: where they come from, and the sentence that says which one is missing, weak or unreadable."""

import json
import re
import secrets
from pathlib import Path

import pytest
import structlog

from heliograph.variables import SETTINGS, unknown_variables, warn_of_unknown
from heliograph_api.settings import ApiSettings
from heliograph_notifier.settings import NotifierSettings
from heliograph_worker.settings import WorkerSettings

STRONG = "3f1d9c0b7a5e48261122334455667788"
OTHER = "0a9b8c7d6e5f40312233445566778899"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment in which the api would start."""
    import os

    for name in os.environ:
        if name.startswith("HELIOGRAPH_"):
            monkeypatch.delenv(name)
    for name, value in {
        "MONGODB_URL": "mongodb://localhost/", "BUS_URL": "memory://", "SIGNING_KEYS": STRONG, "IDENTITY_KEY": OTHER,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"HELIOGRAPH_{name}", value)
    return monkeypatch


def refusal() -> str:
    """Return what the api says as it refuses to start."""
    with pytest.raises(SystemExit) as caught:
        ApiSettings.load()
    assert isinstance(caught.value.code, str)
    return caught.value.code


def test_they_come_from_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HELIOGRAPH_PORT", "8123")
    environment.setenv("HELIOGRAPH_ALLOW_ANONYMOUS", "true")
    settings = ApiSettings.load()
    assert (settings.port, settings.allow_anonymous, settings.signing_keys) == (8123, True, (STRONG,))


@pytest.mark.parametrize("name", ["MONGODB_URL", "BUS_URL", "SIGNING_KEYS", "IDENTITY_KEY"])
def test_what_is_missing_is_named_with_what_it_is_for(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.delenv(f"HELIOGRAPH_{name}")
    first, second = refusal().splitlines()
    assert first == "heliograph cannot start:"
    assert re.fullmatch(rf"  HELIOGRAPH_{name} is not set \(.{{20,}}\)", second)


def test_all_that_is_missing_is_told_at_once(environment: pytest.MonkeyPatch) -> None:
    for name in ("MONGODB_URL", "BUS_URL", "SIGNING_KEYS"):
        environment.delenv(f"HELIOGRAPH_{name}")
    assert len(refusal().splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SIGNING_KEYS", "short", "too weak: a key needs at least 32 bytes"),
        ("SIGNING_KEYS", f"{STRONG},short", "too weak"),
        ("SIGNING_KEYS", "ab" * 20, "repeats a few characters"),
        ("SIGNING_KEYS", "0123456789abcdefg-0123456789abcdefg", "repeats a few characters"),
        ("SIGNING_KEYS", "please change this before you go online", "reads like the placeholder"),
        ("SIGNING_KEYS", "MySecretKeyForJwtTokens-0123456789", "reads like the placeholder"),
        ("IDENTITY_KEY", "change-me-change-me-change-me-change-me", "too weak"),
        ("SIGNING_KEYS", "", "is empty"),
        ("SIGNING_KEYS", " , ", "is empty"),
        ("SIGNING_KEYS", f'["{STRONG}"', "begins as a JSON list"),
        ("IDENTITY_KEY", "changeme", "too weak"),
        ("IDENTITY_KEY", "x" * 64, "repeats a few characters"),
        ("MONGODB_URL", "localhost:27017", "not of the form"),
        ("BUS_URL", "redis://localhost", "not of the form"),
        ("BUS_URL", "amqp://ada:sword/fish@localhost:5672/", "is not a URL"),
        ("BUS_URL", "amqp://ada:12/fish@localhost:5672/", "is not a URL"),
        ("BUS_URL", "amqp://ada:sword#fish@localhost:5672/", "is not a URL"),
        ("BUS_URL", "amqp://ada:sword@fish@localhost:5672/", "is not a URL"),
        ("BUS_URL", "amqp://ada:swordfish@localhost:rabbit/", "is not a URL"),
        ("BUS_URL", "amqp://", "is not a URL"),
        ("PUBLIC_URL", "heliograph.example.org", "not of the form"),
        ("PORT", "eighty", "integer"),
        ("LOG_LEVEL", "loud", "not of the form"),
        ("MOST_BODY_BYTES", "0", "1024"),
    ],
)
def test_what_is_wrong_is_named_and_not_repeated(
    environment: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    environment.setenv(f"HELIOGRAPH_{name}", value)
    told = refusal()
    assert f"HELIOGRAPH_{name} " in told
    assert words in told
    assert STRONG not in told
    assert "fish" not in told


@pytest.mark.parametrize("value", [f"{STRONG},{OTHER}", f" {STRONG} , {OTHER} ", json.dumps([STRONG, OTHER])])
def test_keys_are_a_list_with_commas_or_of_json(environment: pytest.MonkeyPatch, value: str) -> None:
    environment.setenv("HELIOGRAPH_SIGNING_KEYS", value)
    assert ApiSettings.load().signing_keys == (STRONG, OTHER)


@pytest.mark.parametrize("content", [f"{STRONG},{OTHER}\n", json.dumps([STRONG, OTHER]) + "\n"])
def test_a_secret_may_be_in_a_file(environment: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    (tmp_path / "keys").write_text(content)
    environment.delenv("HELIOGRAPH_SIGNING_KEYS")
    environment.setenv("HELIOGRAPH_SIGNING_KEYS_FILE", str(tmp_path / "keys"))
    assert ApiSettings.load().signing_keys == (STRONG, OTHER)


def test_a_file_is_judged_like_a_variable(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short")
    environment.delenv("HELIOGRAPH_IDENTITY_KEY")
    environment.setenv("HELIOGRAPH_IDENTITY_KEY_FILE", str(tmp_path / "key"))
    assert "HELIOGRAPH_IDENTITY_KEY is too weak" in refusal()


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"\xff\xfe", "not text in UTF-8")], ids=["missing", "binary"]
)
def test_a_file_that_cannot_be_read_is_one_sentence(
    environment: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, why: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    environment.setenv("HELIOGRAPH_IDENTITY_KEY_FILE", str(path))
    told = refusal()
    assert f"HELIOGRAPH_IDENTITY_KEY_FILE names {path}, which cannot be read" in told
    assert why in told


def test_no_secret_shows_in_a_representation(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HELIOGRAPH_MONGODB_URL", "mongodb://ada:swordfish@localhost/")
    environment.setenv("HELIOGRAPH_BUS_URL", "amqp://ada:swordfish@localhost/")
    shown = repr(ApiSettings.load())
    assert not any(secret in shown for secret in (STRONG, OTHER, "swordfish"))


@pytest.mark.parametrize(
    "url",
    ["amqp://localhost", "amqp://ada:sword%2Ffish%40@rabbit:5672/", "amqps://rabbit/%2Fvhost?heartbeat=10", "memory://",
     "amqp://ada:swordfish@[::1]:5672/"],
)  # fmt: skip
def test_an_address_of_the_bus_is_taken(environment: pytest.MonkeyPatch, url: str) -> None:
    environment.setenv("HELIOGRAPH_BUS_URL", url)
    assert ApiSettings.load().bus_url == url


def test_random_keys_of_any_form_are_strong(environment: pytest.MonkeyPatch) -> None:
    keys = [make(32) for make in (secrets.token_hex, secrets.token_urlsafe) for _ in range(200)]
    environment.setenv("HELIOGRAPH_SIGNING_KEYS", ",".join(keys))
    assert len(ApiSettings.load().signing_keys) == 400


@pytest.mark.parametrize(
    ("value", "keys"), [(None, None), ("", None), (STRONG, (STRONG,)), (f"{STRONG},{OTHER}", (STRONG, OTHER))]
)
def test_links_are_signed_where_there_is_a_key(
    environment: pytest.MonkeyPatch, value: str | None, keys: tuple[str, ...] | None
) -> None:
    if value is not None:
        environment.setenv("HELIOGRAPH_LINK_KEYS", value)
    settings = ApiSettings.load()
    assert settings.link_keys == keys
    assert STRONG not in repr(settings)


def test_a_weak_link_key_is_refused(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HELIOGRAPH_LINK_KEYS", f"{STRONG},short")
    assert "HELIOGRAPH_LINK_KEYS is too weak" in refusal()


def test_the_variables_of_all_services_are_known() -> None:
    services = (ApiSettings, WorkerSettings, NotifierSettings)
    assert {name.upper() for each in services for name in each.model_fields} == SETTINGS


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("HELIOGRAPH_SITENAME", "HELIOGRAPH_SITE_NAME"),
        ("HELIOGRAPH_PROT", "HELIOGRAPH_PORT"),
        ("HELIOGRAPH_SMPT_URL", "HELIOGRAPH_SMTP_URL"),
        ("HELIOGRAPH_SINGING_KEYS_FILE", "HELIOGRAPH_SIGNING_KEYS_FILE"),
        ("heliograph_slot", "HELIOGRAPH_SLOTS"),
        ("HELIOGRAPH_NONSENSE", None),
    ],
)
def test_a_misspelt_variable_is_named_with_what_was_meant(
    environment: pytest.MonkeyPatch, variable: str, nearest: str | None
) -> None:
    environment.setenv(variable, "a value that is not repeated")
    with structlog.testing.capture_logs() as told:
        warn_of_unknown()
    (warning,) = told
    assert (warning["variable"], warning.get("nearest")) == (variable, nearest)
    assert warning["log_level"] == "warning"
    assert "a value" not in str(warning)


@pytest.mark.parametrize(
    "variable",
    ["HELIOGRAPH_PORT", "heliograph_port", "HELIOGRAPH_SEAL_KEYS_FILE", "HELIOGRAPH_TOKEN", "HELIOGRAPH_PLUGINS",
     "HELIOGRAPH_CHANNEL_APPRISE_CONFIG", "PORTS", "HELIOGRAPHS"],
)  # fmt: skip
def test_a_variable_that_somebody_reads_is_not(variable: str) -> None:
    assert unknown_variables([variable]) == {}
