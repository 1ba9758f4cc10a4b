"""A free port is free, and not one the system gives to outgoing connections."""

import socket

import pytest

import golive.freeport
from golive.errors import UnavailableError
from golive.freeport import PORTS, free_port


def test_a_free_port_can_be_listened_on_and_is_below_those_of_outgoing_connections() -> None:
    """Otherwise a connection made before the service starts could take it."""
    port = free_port()
    assert port in PORTS
    with socket.create_server(("127.0.0.1", port)):
        pass
    with socket.create_server(("127.0.0.1", 0)) as given_by_the_system:
        assert given_by_the_system.getsockname()[1] not in PORTS


def test_none_is_free_says_where_it_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the place and the range."""
    monkeypatch.setattr(golive.freeport, "_TRIES", 1)
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(golive.freeport, "PORTS", range(port, port + 1))
        with pytest.raises(UnavailableError, match=rf"127.0.0.1: expected a free port in {port}..{port}"):
            free_port()
