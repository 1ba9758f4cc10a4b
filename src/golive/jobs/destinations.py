"""
Where a webhook may go: https, a host that is allowed, and an address on the public internet.

The name is resolved once, every address it has is judged, and the connection goes to an address that was judged, so
that a name which resolves to something else a moment later (DNS rebinding) reaches nothing. What an IPv6 address
carries inside (mapped, 6to4, Teredo, NAT64) is judged as well. Redirects are not followed: a new address would be
nobody's decision.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from golive.errors import GoliveError

#: The longest URL: a database column and a log line.
URL_MAX = 2048

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")

Resolve = Callable[[str, int], Iterable[str]]


class RefusedDestinationError(GoliveError):
    """A webhook's URL that golive will not call. ``str()`` says why, without the URL's query."""


class Destination(NamedTuple):
    """A URL in parts. *trusted* skips the judgement of addresses: the operator named this host and port."""

    scheme: str
    host: str
    port: int
    target: str
    trusted: bool


def destination(url: str, allow: Collection[str], trust: Collection[str] = ()) -> Destination:
    """
    *url*, if its form and its host are allowed. No name is resolved yet.

    Args:
        allow: hosts, ``"hooks.example.com"`` or ``"*.example.com"`` (which does not include ``example.com``); empty
            allows every public host.
        trust: ``"host:port"`` that may be private and plain http, such as a receiver in the same cluster.

    Raises: RefusedDestinationError.
    """
    if not isinstance(url, str) or len(url) > URL_MAX or not url.isascii() or re.search(r"[\x00-\x20\x7f\\]", url):
        raise RefusedDestinationError(f"webhook: expected a URL of at most {URL_MAX} ASCII characters, got another.")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise RefusedDestinationError(f"webhook: expected a URL, got one that cannot be read: {error}.") from error
    port = port or (443 if parts.scheme == "https" else 80)
    trusted = f"{host}:{port}" in trust
    if parts.scheme != "https" and not (trusted and parts.scheme == "http"):
        raise RefusedDestinationError(f"webhook: expected https, got {parts.scheme or 'no scheme'!r}.")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise RefusedDestinationError("webhook: expected a URL without user, password and fragment, got one with.")
    if not trusted:
        _judge_host(host, port, allow)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, target, trusted)


def _judge_host(host: str, port: int, allow: Collection[str]) -> None:
    if _address(host) is not None:
        raise RefusedDestinationError("webhook: expected the name of a host, got an address.")
    if not _HOST.fullmatch(host) or "." not in host or host.rpartition(".")[2].isdigit():
        raise RefusedDestinationError(f"webhook: expected the full name of a host, got {host[:80]!r}.")
    if port != 443:
        raise RefusedDestinationError(f"webhook: expected port 443, got {port}.")
    if allow and not any(_matches(host, pattern.lower()) for pattern in allow):
        raise RefusedDestinationError(f"webhook: expected a host on the list of allowed ones, got {host!r}.")


def pin(where: Destination, resolve: Resolve | None = None) -> str:
    """
    The address to connect to. Blocks while the name is resolved.

    Raises: RefusedDestinationError if any of its addresses is not public; OSError if the name has none.
    """
    addresses = list((resolve or _resolve)(where.host, where.port))
    if not addresses:
        raise OSError(f"{where.host} has no address")
    if not where.trusted:
        for address in addresses:
            if not is_public(address):
                raise RefusedDestinationError(f"webhook: expected a public address of {where.host}, got {address}.")
    return addresses[0]


def is_public(text: str) -> bool:
    """True for a unicast address of the public internet, with nothing private inside it."""
    address = _address(text.partition("%")[0])
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in _LOCAL_NAT64:
            return False
        if address in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        inside = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if int(address) >> 32 == 0:  # "IPv4-compatible", long deprecated, still routed by some stacks
            return False
        if any(each is not None for each in inside):
            return all(is_public(str(each)) for each in inside if each is not None)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) and host != pattern[1:] if pattern.startswith("*.") else host == pattern


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))
