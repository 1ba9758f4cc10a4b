"""
Where the load goes: the address behind a URL, and the rule that only this machine may be loaded without being asked.

A load generator pointed at the wrong host is an attack. Every address the name resolves to must be loopback unless the
caller confirms; the addresses are resolved once, so the name cannot mean something else a second later.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult

from golive.errors import RefusedError, UnavailableError
from golive.load.plan import LoadPlan, split_url

_PROBE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to connect to, and how."""

    family: socket.AddressFamily
    address: tuple[str, int] | tuple[str, int, int, int]
    server_name: str
    tls: ssl.SSLContext | None


def resolve(plan: LoadPlan) -> Endpoint:
    """
    The endpoint of the plan's URL.

    Raises:
        UnavailableError: the name does not resolve.
        RefusedError: it is not this machine, and ``plan.remote_allowed`` is not set.
    """
    url = split_url(plan.url)
    host = url.hostname or ""
    found = _addresses(url, host)
    remote = [address[0] for _, address in found if not is_loopback(str(address[0]))]
    if remote and not plan.remote_allowed:
        raise RefusedError(
            f"{host} is {remote[0]}, not this machine: a load run there can look like an attack. "
            "If the host is yours and its owners know, confirm with --i-own-this-host (remote_allowed=True)."
        )
    family, address = _first_that_connects(found)
    return Endpoint(family, address, host, _tls(plan) if url.scheme == "https" else None)


def is_loopback(address: str) -> bool:
    """True for 127.0.0.0/8, ::1 and their IPv4-mapped spellings."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


def _addresses(
    url: SplitResult, host: str
) -> list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]]:
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise UnavailableError(f"{host}: cannot be resolved ({error}). Check the host name.") from None
    return [(family, address) for family, _, _, _, address in found]  # type: ignore[misc]


def _first_that_connects(
    found: list[tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]],
) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """``localhost`` is often ::1 first while the server listens on 127.0.0.1 only; with none, the run shows it."""
    if len(found) > 1:
        for family, address in found:
            try:
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.settimeout(_PROBE_SECONDS)
                    probe.connect(address)
                return family, address
            except OSError:
                continue
    return found[0]


def _tls(plan: LoadPlan) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not plan.tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context
