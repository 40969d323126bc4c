"""Ports of loopback for servers that a test starts, stops, and starts again where they were."""

import random
import socket
from contextlib import suppress

# Below the range that the kernel gives to outgoing connections (from 32768 on Linux): a client that keeps dialling a
# dead port inside that range is in the end connected to itself, and the server cannot have its port back. And beside
# the range in which an embedded mongod looks for a port by itself.
_PORTS = range(10_000, 20_000)


def free_port() -> int:
    """Return a port that nothing uses, and that no other test process is given while this one runs.

    A server that is down leaves its port free. What says that it is taken all the same is the port of this number for
    datagrams, which no server of the tests uses: it stays bound until this process ends.
    """
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.socket() as probe, socket.socket(type=socket.SOCK_DGRAM) as mark:
            mark.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            mark.detach()
            return port
    raise RuntimeError("no free port")
