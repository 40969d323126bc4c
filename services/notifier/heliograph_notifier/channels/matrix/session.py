"""Logging in: once, and after that with the device that is kept."""

import secrets
from dataclasses import dataclass, replace

import structlog
from nio.crypto import ENCRYPTION_ENABLED

from heliograph_notifier.channels.matrix.answers import UNKNOWN_TOKEN, Answer, failure
from heliograph_notifier.channels.matrix.client import Client
from heliograph_notifier.channels.matrix.keeper import Keeper, Kept, Session, Tenure

_log = structlog.get_logger()

DEVICE_NAME = "Heliograph"
_NO_SEAL = "SEAL_KEYS is not set, and its keys cannot be kept without"
_NO_LIBRARY = "vodozemac is not installed"
_KEYS_ELSEWHERE = (
    "the device of its access token has keys that are not kept here: give it a password, or a token of a new device"
)


class LoginError(Exception):
    """The homeserver does not let the account in; what the settings say has to be changed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the account is, who it is, and what proves that: a password, or else an access token."""

    homeserver: str
    user: str
    password: str | None = None
    access_token: str | None = None


async def open_client(credentials: Credentials, tenure: Tenure, keeper: Keeper) -> Client:
    """Return a client that is logged in, with the device that is kept or else a new one.

    Raises
    ------
    LoginError
        As its name says.
    TryLater, aiohttp.ClientError, TimeoutError
        The homeserver is away, or wants to be left alone.
    """
    client = Client(credentials.homeserver, credentials.user, tenure)
    try:
        if credentials.access_token:
            session = await _session_of_token(client, credentials.access_token)
        else:
            session = await _session_kept(client, tenure.kept) or await _log_in(client, credentials, tenure)
        client.restore(session)
        await _load_keys(client, session, tenure.kept, keeper)
        await tenure.keep(device=session.device, session=session)
        await client.store_keys()
        tenure.kept = replace(tenure.kept, keys=None)  # they are loaded, and may be megabytes
    except BaseException:
        await client.close()
        raise
    if client.keys_trouble:
        _log.warning("the Matrix account serves no encrypted rooms", user=credentials.user, why=client.keys_trouble)
    return client


async def _session_of_token(client: Client, token: str) -> Session:
    client.access_token = token
    answer = await client.ask("GET", "/account/whoami")
    if answer.code == UNKNOWN_TOKEN:
        raise LoginError(f"the access token is not valid: {answer.words}")
    return Session(_checked(client, answer), token)


async def _session_kept(client: Client, kept: Kept) -> Session | None:
    """Return the session that is kept, where the homeserver still knows it."""
    if kept.session is None:
        return None
    client.restore(kept.session)
    answer = await client.ask("GET", "/account/whoami")
    if answer.code == UNKNOWN_TOKEN:
        _log.warning("the Matrix account's device was logged out: a new one is made", device=kept.session.device)
        client.access_token = ""
        return None
    _checked(client, answer)
    return kept.session


def _checked(client: Client, answer: Answer) -> str:
    """Return the device that an answer to whoami names."""
    if not answer.is_ok:
        raise failure(answer, client.user)
    if answer.value("user_id") != client.user:
        raise LoginError(f"the access token is one of {answer.value('user_id')}, not of {client.user}")
    return str(answer.body.get("device_id", ""))


async def _log_in(client: Client, credentials: Credentials, tenure: Tenure) -> Session:
    """Log in with the password.

    The device gets its name from here and is noted before, so that a crash in between makes no second one. One whose
    session was kept has keys that are of no use any more: then it is a new one.
    """
    if not credentials.password:
        raise LoginError("neither a password nor an access token is set")
    kept = tenure.kept
    device = kept.device if kept.device and not kept.session else f"HELIOGRAPH{secrets.token_hex(4).upper()}"
    await tenure.keep(device=device)
    answer = await client.ask("POST", "/login", {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": credentials.user},
        "password": credentials.password,
        "device_id": device,
        "initial_device_display_name": DEVICE_NAME,
    })  # fmt: skip
    if answer.status in {400, 401, 403}:
        raise LoginError(answer.words)
    if not answer.is_ok:
        raise failure(answer, credentials.user)
    _log.info("logged in to Matrix", user=credentials.user, device=device)
    return Session(device, answer.value("access_token"))


async def _load_keys(client: Client, session: Session, kept: Kept, keeper: Keeper) -> None:
    if not keeper.can_seal or not ENCRYPTION_ENABLED or not session.device:
        client.keys_trouble = _NO_LIBRARY if keeper.can_seal else _NO_SEAL
    elif kept.keys and kept.session and kept.session.device == session.device:
        client.load_keys(kept.keys)
    elif await _has_keys(client, session.device):
        client.keys_trouble = _KEYS_ELSEWHERE
    else:
        client.load_keys(None)


async def _has_keys(client: Client, device: str) -> bool:
    """Say whether others know keys of this device, which new ones would contradict."""
    answer = await client.ask("POST", "/keys/query", {"device_keys": {client.user: [device]}})
    if not answer.is_ok:
        raise failure(answer, client.user)
    return device in answer.body.get("device_keys", {}).get(client.user, {})
