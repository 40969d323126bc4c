"""HTTP requests to where an operator allows: every redirect is judged, every answer has an end."""

import functools
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import httpx

from heliograph.backends import FatalError, TransientError
from heliograph.backends.artifacts import check_name
from heliograph_worker.backends.destinations import Destinations

MOST_HOPS = 5
MOST_JSON_BYTES = 1_000_000
MOST_ADDRESS_CHARACTERS = 2_000
_REDIRECTS = {301, 302, 303, 307, 308}
_NO_NAME = "result"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, to be read within the block of ``Outbound.exchange``."""

    url: httpx.URL
    response: httpx.Response

    @property
    def status(self) -> int:
        """The status code."""
        return self.response.status_code

    @property
    def media_type(self) -> str:
        """The type of the body, without its parameters; empty where it was not told."""
        said: str = self.response.headers.get("content-type", "")
        return said.partition(";")[0].strip().lower()

    @property
    def is_json(self) -> bool:
        """Whether the body is said to be JSON."""
        return self.media_type == "application/json" or self.media_type.endswith("+json")

    def read(self, most: int) -> bytes:
        """Return the body; ``FatalError`` where it is larger than ``most`` bytes."""
        return b"".join(self.pieces(most))

    def json(self) -> Any:
        """Return the JSON value of the body; ``FatalError`` where it is none, or of more than 1 MB."""
        try:
            return json.loads(self.read(MOST_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise FatalError(f"{self.url.host} answered with what is no JSON: {error}") from error

    def pieces(self, most: int) -> Iterator[bytes]:
        """Yield the body piece by piece; ``FatalError`` once it is larger than ``most`` bytes."""
        coding = self.response.headers.get("content-encoding", "identity").lower()
        if coding != "identity":  # not asked for; unpacked, a small answer can fill a memory
            raise FatalError(f"{self.url.host} answered in the coding {coding[:50]!a}, which was not asked for")
        total = 0
        for piece in self.response.iter_raw():
            total += len(piece)
            if total > most:
                raise FatalError(f"{self.url.host} answered with more than {most:,} bytes")
            yield piece

    def save(self, place: Path, most: int) -> int:
        """Write the body to a file and return its size; ``FatalError`` once it is larger than ``most`` bytes."""
        size = 0
        with place.open("wb") as file:
            for piece in self.pieces(most):
                size += file.write(piece)
        return size

    def name(self) -> str:
        """Return how a file of this body is called: as the server says, else as the end of its address, else result."""
        disposition = EmailMessage()
        try:
            disposition["Content-Disposition"] = self.response.headers.get("content-disposition", "")
            said = disposition.get_filename() or ""
        except (ValueError, LookupError, IndexError):  # the library's parser meets what is no such header
            said = ""
        got = self.response.request.method == "GET"
        for given in (said, unquote(PurePosixPath(self.url.path).name) if got else ""):
            try:
                return check_name(given.replace("\\", "/").rpartition("/")[2])
            except ValueError:
                continue
        return _NO_NAME


@dataclass(frozen=True, slots=True)
class Outbound:
    """Sends requests.

    ``headers`` go to the operator's own address alone: whoever else is allowed has no business with credentials.
    """

    destinations: Destinations
    connect_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @contextmanager
    def exchange(self, method: str, url: str | httpx.URL, *, read_seconds: float, body: Any = None) -> Iterator[Answer]:
        """Send a request, follow up to five redirects within what is allowed, and give the answer to the block.

        Parameters
        ----------
        method, url, body
            What to send, where; ``body`` as JSON, unless it is None.
        read_seconds
            How long the server may be silent.

        Raises
        ------
        TransientError
            There is no answer now, or it broke off.
        FatalError
            It leads to where it may not, or it is no answer.
        """
        content = None if body is None else json.dumps(body).encode()
        target = address(url)
        timeout = httpx.Timeout(read_seconds, connect=self.connect_seconds)
        for _ in range(MOST_HOPS + 1):
            with _translated(target.host), self._once(method, target, content, timeout) as response:
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    yield Answer(target, response)
                    return
                before, target = target, address(response.headers["location"], target)
            if before.scheme == "https" and target.scheme != "https":
                raise FatalError(f"{before.host} leads on from https to {target.scheme}, where others can read")
            if response.status_code == 303 or (response.status_code in {301, 302} and method == "POST"):
                method, content = "GET", None
        raise FatalError(f"{target.host} leads on more than {MOST_HOPS} times")

    @contextmanager
    def _once(
        self, method: str, url: httpx.URL, content: bytes | None, timeout: httpx.Timeout
    ) -> Iterator[httpx.Response]:
        self.destinations.check(url)
        headers = httpx.Headers({"Accept": "application/json, */*;q=0.5", "User-Agent": "heliograph"})
        if self.destinations.is_own(url):
            headers.update(self.headers)
        headers.update({"Host": url.netloc.decode("ascii"), "Accept-Encoding": "identity"})
        if content is not None:
            headers["Content-Type"] = "application/json"
        # A client for each request keeps no cookies; without the environment's proxies, the address is the one checked.
        with httpx.Client(verify=_certificates(), timeout=timeout, trust_env=False) as client:
            failure: httpx.TransportError | None = None
            for numeric in self.destinations.resolve(url):
                request = client.build_request(
                    method, url.copy_with(host=numeric), content=content, headers=headers,
                    extensions={"sni_hostname": url.raw_host.decode("ascii")},
                )  # fmt: skip
                try:
                    response = client.send(request, stream=True)
                except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                    failure = error
                    continue
                try:
                    yield response
                finally:
                    response.close()
                return
            raise failure or httpx.ConnectError("it has no address")


def address(text: str | httpx.URL, base: httpx.URL | None = None) -> httpx.URL:
    """Read an address, which may be relative to ``base``.

    Raises
    ------
    FatalError
        It is none.
    """
    if isinstance(text, str) and len(text) > MOST_ADDRESS_CHARACTERS:
        raise FatalError(f"an address of more than {MOST_ADDRESS_CHARACTERS} characters was given")
    try:
        url = base.join(text) if base else httpx.URL(text)
        if not url.host:
            raise FatalError("an address without a host was given")
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise FatalError(f"what was given is no address: {error}") from None
    return url


@contextmanager
def _translated(host: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise TransientError(f"{host} did not answer in time") from error
    except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
        raise TransientError(f"{host} cannot be reached: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise FatalError(f"{host} cannot be asked: {error}") from error


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to trust: as ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` say, else the well-known authorities."""
    return httpx.create_ssl_context()
