"""
Who is calling: the address behind proxies that are trusted by name, and the bucket an address falls into.

``X-Forwarded-For`` is written by everybody on the way, the caller first. Only hops that are listed as trusted are
believed: reading from the right, the first address that is not one of ours is the caller. From a peer that is not
listed the header is ignored.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from golive.chassis.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Hops read from the right; a longer chain is somebody playing.
HOPS_MAX = 32


def parse_network(text: str) -> Network:
    """``10.0.0.0/8`` or one address. Raises: ValueError saying what was expected."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f'expected an address or network such as "10.0.0.0/8", got {text!r} ({error})') from None


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """
    The address in *text*: with a port, brackets or a zone, IPv4 inside IPv6 unwrapped; None when there is none.

    Cached, because the same callers come back; the cache is bounded.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=4096)
def bucket(text: str) -> str:
    """
    What limits count together: an IPv4 address, or the /64 an IPv6 address is in (one customer has at least that).
    """
    address = parse_address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address) if address is not None else text[:64]


class Sources:
    """
    Who may ask for what is not for everybody, by the address a request comes from.

    Args:
        entries: networks; ``private``: every address that is not on the internet; ``*``: everybody.
    """

    def __init__(self, entries: tuple[str, ...]) -> None:
        self._everybody = "*" in entries
        self._private = "private" in entries
        self._networks = tuple(parse_network(entry) for entry in entries if entry not in ("*", "private"))

    def admit(self, scope: Scope) -> bool:
        """
        Whether the caller is one of them. One without an address (a unix socket) is on this machine.

        A request that was forwarded by somebody we do not trust came from anywhere, whatever its last hop's address.
        """
        client = scope.get("client")
        if self._everybody or not client:
            return True
        host, port = client
        if port and any(name in (b"x-forwarded-for", b"forwarded") for name, _ in scope["headers"]):
            return False  # port 0 is the mark of a caller a trusted proxy spoke for
        address = parse_address(host)
        if address is None:
            return False
        private = self._private and not address.is_global
        return private or any(address in network for network in self._networks)


#: What trusted proxies are believed to say.
FORWARDED = (b"x-forwarded-for", b"x-forwarded-proto")


class TrustedProxies:
    """The hops that are believed."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(parse_network(network) for network in networks)
        self._trusts = lru_cache(maxsize=1024)(self._is_trusted)
        self._trusts_peer = lru_cache(maxsize=1024)(self._is_trusted_peer)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _is_trusted_peer(self, text: str) -> bool:
        address = parse_address(text)
        return address is not None and self._trusts(address)

    def apply(self, scope: Scope) -> None:
        """Put the caller's address and scheme into *scope* when the peer is trusted and says so; otherwise leave it."""
        client = scope.get("client")
        if not client or not self._trusts_peer(client[0]):
            return
        forwarded, schemes = [], []
        for name, value in scope["headers"]:
            if name == FORWARDED[0]:
                forwarded.append(value)
            elif name == FORWARDED[1]:
                schemes.append(value)
        caller = self._caller(b",".join(forwarded).decode("latin-1").split(",")) if forwarded else None
        if caller is not None:
            scope["client"] = (str(caller), 0)
        if len(schemes) == 1 and schemes[0] in (b"http", b"https"):
            secure = schemes[0] == b"https"
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else schemes[0].decode()

    def _caller(self, hops: list[str]) -> Address | None:
        """
        The right-most hop that is not ours; None when a hop on the way is no address, for then nobody vouches for it.
        """
        address = None
        for hop in reversed(hops[-HOPS_MAX:]):
            address = parse_address(hop)
            if address is None or not self._trusts(address):
                return address
        return address
