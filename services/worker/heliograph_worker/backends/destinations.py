"""Where a backend may send requests to: the hosts that an operator lists, and no address inside by way of a name."""

import ipaddress
import socket
from collections.abc import Sequence

import httpx

from heliograph.backends import FatalError, TransientError

_DEFAULT_PORTS = {"http": 80, "https": 443}
# Networks whose addresses hold another one, which may be inside: 6to4, Teredo, and two of NAT64.
_TUNNELS = tuple(map(ipaddress.ip_network, ("2002::/16", "2001::/32", "64:ff9b::/96", "64:ff9b:1::/48")))

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Destinations:
    """The addresses that one backend may use.

    Parameters
    ----------
    url
        The operator's own: its host, at its port, is always allowed, wherever it is.
    allowed
        The hosts that may be gone on to instead of this one. ``host`` stands for it at the port of the scheme or that
        of ``url``, ``host:port`` for it at this port.
    allow_private
        Whether these, too, may lie in networks that the internet does not reach.
    """

    def __init__(self, url: str, allowed: Sequence[str], *, allow_private: bool) -> None:
        self._own = httpx.URL(url)
        self._allowed = frozenset(entry.lower() for entry in allowed)
        self._allow_private = allow_private

    def is_own(self, url: httpx.URL) -> bool:
        """Whether an address is of the operator's own scheme, host and port: where credentials go."""
        return _origin(url) == _origin(self._own)

    def check(self, url: httpx.URL) -> None:
        """Refuse an address that is not the operator's choice.

        Raises
        ------
        FatalError
            It is of another scheme, holds a password, or its host is not among those allowed.
        """
        if url.scheme not in _DEFAULT_PORTS:
            raise FatalError(f"an address of the scheme {url.scheme!r} was given, where only http and https go")
        if url.userinfo:
            raise FatalError(f"an address at {url.host} was given with a user's name or a password in it")
        if not self._is_allowed(url):
            raise FatalError(
                f"an address at {_netloc(url)} was given, which is not among the allowed_hosts of this backend"
            )

    def resolve(self, url: httpx.URL) -> list[str]:
        """Return the numeric addresses of a host, all of which may be connected to.

        Whoever connects uses these: a name that is asked for once more may have another answer.

        Raises
        ------
        TransientError
            The name is not known now.
        FatalError
            One of the addresses lies in a network that the internet does not reach, and this host may not.
        """
        try:
            found = socket.getaddrinfo(url.host, port_of(url), type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TransientError(f"the address of {url.host} cannot be found: {error}") from error
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if not self._may_be_private(url):
            for address in addresses:
                if not is_public(ipaddress.ip_address(address.partition("%")[0])):
                    raise FatalError(
                        f"{url.host} is at {address}, which is not on the internet; where that is meant, its operator "
                        "sets allow_private"
                    )
        return addresses

    def _is_allowed(self, url: httpx.URL) -> bool:
        host, port = _bracketed(url), port_of(url)
        if (url.host, port) == (self._own.host, port_of(self._own)) or f"{host}:{port}" in self._allowed:
            return True
        return host in self._allowed and port in {_DEFAULT_PORTS[url.scheme], port_of(self._own)}

    def _may_be_private(self, url: httpx.URL) -> bool:
        return self._allow_private or (url.host, port_of(url)) == (self._own.host, port_of(self._own))


def is_public(address: Address) -> bool:
    """Say whether the internet leads to an address, and it is one machine's."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(address.ipv4_mapped)
        if any(address in network for network in _TUNNELS):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def port_of(url: httpx.URL) -> int:
    """Return the port, also where it goes without saying."""
    return url.port or _DEFAULT_PORTS.get(url.scheme, 0)


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, port_of(url)


def _bracketed(url: httpx.URL) -> str:
    return f"[{url.host}]" if ":" in url.host else url.host


def _netloc(url: httpx.URL) -> str:
    return f"{_bracketed(url)}:{port_of(url)}"
