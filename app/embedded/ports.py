"""Free ports for the servers, and the listening socket of the API."""

import errno
import random
import socket

import psutil

from app.embedded.errors import AddressUnusable, PortTaken

# Below the ephemeral port range: a client that retries while its server is restarting could
# otherwise be assigned the server's own port and connect to itself.
SERVER_PORTS = range(20_000, 32_000)


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port if it is free, else another."""
    candidates = [preferred] if preferred else []
    candidates += random.sample(SERVER_PORTS, 200)
    for port in candidates:
        try:
            listen("127.0.0.1", port).close()
        except (PortTaken, AddressUnusable):
            continue
        return port
    raise AddressUnusable("127.0.0.1", SERVER_PORTS.start, "none of 200 ports tried is free")


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. `up` keeps it open while the API restarts, so that clients wait
    instead of getting a connection error.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressUnusable(host, port, error.strerror or str(error)) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(256)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port, _holder(port)) from None
        raise AddressUnusable(host, port, error.strerror or str(error)) from None
    return bound


def _holder(port: int) -> str:
    """Return ` by pid 12 (python3 -m ...)`, or "" where the system does not reveal it."""
    try:
        for connection in psutil.net_connections("tcp"):
            taken = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if taken and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f" by pid {connection.pid} ({command[:120]})"
    except (psutil.Error, OSError):
        pass
    return ""
