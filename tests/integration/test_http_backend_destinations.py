"""Where a data server may lead a worker: where its operator allows, and never inside by way of a name."""

import ipaddress
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from heliograph_worker.backends import outbound
from heliograph_worker.backends.destinations import is_public
from tests.parts.data_server import (
    DataServer,
    Reply,
    ask,
    data_server,
    failure,
    leads_to,
)


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server() as served:
        yield served


def test_redirects_are_followed_within_the_host(server: DataServer) -> None:
    server.plans["/end"] = Reply(200, "here")
    assert ask(server, leads_to("/end", 303)).result == "here"
    assert ask(server, leads_to("/end", 307)).result == "here"
    assert server.methods() == ["POST /run", "GET /end", "POST /run", "POST /end"]
    assert server.asked[-1].body == server.asked[0].body
    server.plans["/run"] = leads_to("/run")
    assert failure(ask(server)) == ("fatal", "127.0.0.1 leads on more than 5 times")


@pytest.mark.parametrize(
    "place",
    [
        "http://169.254.169.254/latest/meta-data", "http://localhost/", "http://[::1]/", "http://2130706433/",
        "http://archive.example.org/", "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1:70/x",
        "http://user:word@127.0.0.1/", "http://127.0.0.1@evil.example/", "http://[", "x" * 3000,
    ],
)  # fmt: skip
def test_no_server_leads_where_the_operator_did_not_allow(server: DataServer, place: str) -> None:
    assert failure(ask(server, leads_to(place)))[0] == "fatal"
    assert failure(ask(server, Reply(202, {"status_url": place})))[0] == "fatal"
    assert failure(ask(server, Reply(202), [{"state": "done", "result_url": place}]))[0] == "fatal"
    assert server.methods() == 3 * ["POST /run"]


def test_no_password_comes_from_a_server(server: DataServer) -> None:
    assert "password" in failure(ask(server, leads_to(f"http://ada:word@127.0.0.1:{server.port}/")))[1]


def test_an_address_that_is_not_allowed_is_told_when_it_is_given(server: DataServer) -> None:
    for key in ("status_url", "cancel_url"):
        callbacks = [{"state": "done", "result": 1}]
        done = ask(server, Reply(202, {key: "http://archive.example.org/"}), callbacks)
        assert "archive.example.org:80 was given, which is not among the allowed_hosts" in failure(done)[1]


def test_another_port_of_the_host_is_another_server(server: DataServer) -> None:
    with data_server() as other:
        assert "allowed_hosts" in failure(ask(server, leads_to(f"{other.url}/")))[1]
        other.plans["/"] = Reply(200, "other")
        keys: dict[str, Any] = {"allowed_hosts": [f"127.0.0.1:{other.port}"], "allow_private": True}
        assert ask(server, leads_to(f"{other.url}/"), **keys).result == "other"


def test_an_allowed_name_does_not_lead_inside(server: DataServer) -> None:
    server.plans["/end"] = Reply(200, "inside")
    inside = f"http://localhost:{server.port}/end"
    keys: dict[str, Any] = {"allowed_hosts": ["localhost"]}
    kind, message = failure(ask(server, leads_to(inside), **keys))
    assert kind == "fatal"
    assert "localhost is at 127.0.0.1, which is not on the internet" in message
    assert server.methods() == ["POST /run"]
    for callbacks in ([], [{"state": "done", "result_url": inside}]):
        assert "not on the internet" in failure(ask(server, Reply(202, {"status_url": inside}), callbacks, **keys))[1]
    assert "GET /end" not in server.methods()
    assert ask(server, leads_to(inside), **keys, allow_private=True).result == "inside"


def test_a_name_is_asked_for_once_and_its_address_connected_to(
    server: DataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name whose next answer is another one leads nowhere else."""
    asked: list[str] = []
    resolve = socket.getaddrinfo

    def changes(host: str, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return resolve("127.0.0.1" if asked.count(host) == 1 else "192.0.2.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", changes)
    server.plans["/run"] = Reply(200, "reached")
    done = ask(server, url=f"http://archive.example.org:{server.port}/run")
    assert done.result == "reached"
    assert asked.count("archive.example.org") == 1
    assert server.asked[0].headers["host"] == f"archive.example.org:{server.port}"


def test_credentials_do_not_go_to_whom_one_is_sent(server: DataServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECTRA_TOKEN", "s3cret-of-the-archive")
    server.plans["/end"] = Reply(200, 1)
    keys: dict[str, Any] = {"allowed_hosts": ["localhost"], "allow_private": True, "token_variable": "SPECTRA_TOKEN"}
    keys["headers"] = {"X-Key": "k"}
    ask(server, leads_to("/end", 307), **keys)
    ask(server, leads_to(f"http://localhost:{server.port}/end", 307), **keys)
    shown = ["authorization" in each.headers and "x-key" in each.headers for each in server.asked]
    assert shown == [True, True, True, False]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False), ("100.64.0.1", False),
        ("169.254.169.254", False), ("0.0.0.0", False), ("224.0.0.1", False), ("240.0.0.1", False),
        ("255.255.255.255", False), ("::", False), ("::1", False), ("fe80::1", False), ("fd00::1", False),
        ("fd00:ec2::254", False), ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False), ("64:ff9b:1::a00:1", False), ("2001:0:7f00:1::", False),
    ],
)  # fmt: skip
def test_what_counts_as_the_internet(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


def certificate_of(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a certificate for a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(
            subject, subject, key.public_key(), 1, now - timedelta(hours=1), now + timedelta(hours=1)
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


@pytest.mark.parametrize(("name", "kind"), [("localhost", None), ("archive.example.org", "transient")])
def test_a_certificate_is_of_the_host_that_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str | None
) -> None:
    """Though it is the numeric address that is connected to."""
    certificate, key = certificate_of(name, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outbound._certificates.cache_clear()
    try:
        with data_server(wrap=lambda plain: context.wrap_socket(plain, server_side=True)) as server:
            server.plans["/run"] = Reply(200, 1)
            done = ask(server, url=f"https://localhost:{server.port}/run")
            downgraded = ask(
                server, leads_to(f"http://localhost:{server.port}/run"), url=f"https://localhost:{server.port}/run"
            )
    finally:
        outbound._certificates.cache_clear()
    assert (done.error.kind.value if done.error else None) == kind
    if kind is None:
        assert "from https to http" in failure(downgraded)[1]
    else:
        assert server.asked == []
