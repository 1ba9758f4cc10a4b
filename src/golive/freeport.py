"""Ports to listen on that nobody else is about to take."""

import random
import socket

from golive.errors import UnavailableError

PORTS = range(20_000, 32_000)
"""Below the range from which systems take the ports of outgoing connections, so that none of those is in the way."""
_TRIES = 200


def free_port(host: str = "127.0.0.1") -> int:
    """
    A port of *host* in :data:`PORTS` that nobody listens on now.

    Not reserved: whoever starts a process on it should try again with another when that process finds it taken.

    Raises: UnavailableError when none of 200 ports taken at random is free.
    """
    for port in random.sample(PORTS, _TRIES):
        if is_free(host, port):
            return port
    raise UnavailableError(
        f"{host}: expected a free port in {PORTS.start}..{PORTS.stop - 1}, {_TRIES} tries found none."
    )


def is_free(host: str, port: int) -> bool:
    """Whether a process may listen on *port* of *host* now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as candidate:
        try:
            candidate.bind((host, port))
        except OSError:
            return False
        return True
