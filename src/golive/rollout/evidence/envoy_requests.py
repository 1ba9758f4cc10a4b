"""
Evidence per client and per route, from the gateway's account of every request
(:mod:`golive.rollout.routers.envoy_tap`).

Counters cannot tell a hundred failures of one client from one failure of a hundred, and a client that retries in a loop
would take a healthy release back. Here a client counts once per look, as long as it never failed on any version; its
first failure counts, where it happened, and then it says nothing more until it has been well for ten minutes. That is
the risk set of survival analysis, the same rule for every version: who already failed on stable is no news on the
candidate, and a client seen for hours still counts when it fails at last. It also sees two things that counters miss:
an answer that broke off after its status was sent, and a client that gave up waiting.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b

from golive.errors import UnavailableError
from golive.rollout.routers.envoy_config import UNCOUNTED, cluster_name
from golive.rollout.routers.envoy_gateway import EnvoyGateway
from golive.rollout.routers.envoy_tap import Request, requests_in

CLIENTS_MAX = 200_000
"""Clients told apart per version and look, about 20 MiB; later ones are counted in :attr:`Account.clients_overflow`."""
FORGIVEN_SECONDS = 600.0
"""So long without a failure, and a client that failed counts again."""
ACCOUNTS_MAX = 16
"""Versions remembered; the oldest is forgotten first."""
BATCH_BYTES_MAX = 4 * 1024 * 1024
OTHER = "*"
"""The route of requests that match no declared one; the only route when none is declared."""

_BROKEN = frozenset({"UC", "UF", "UH", "UO", "UPE", "UR", "UT", "LR", "URX", "SI"})
"""Response flags that mean the version, or the way to it, failed whatever the status says."""
_GAVE_UP = "DC"


class Clients:
    """Who failed lately, on whatever version. Only hashes are kept: who the clients are is nobody's business here."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._failed: dict[bytes, float] = {}  # hash of the client -> when it failed last; oldest first

    def at_risk(self, client: bytes) -> bool:
        """Whether a failure of *client* would be news."""
        failed_at = self._failed.get(client)
        return failed_at is None or self._monotonic() - failed_at >= FORGIVEN_SECONDS

    def failed(self, client: bytes) -> None:
        """Remember a failure; beyond :data:`CLIENTS_MAX` the oldest one is forgiven early."""
        self._failed.pop(client, None)
        self._failed[client] = self._monotonic()
        if len(self._failed) > CLIENTS_MAX:
            del self._failed[next(iter(self._failed))]


class Account:
    """
    What one version did since the tap was opened.

    Attributes:
        requests, errors: by route; a request its client gave up is in neither. On a declared route only those of
            clients at risk: a client that failed there is not counted again and again.
        latency: by declared route, one count per bucket and one above; of the same requests.
        units: clients at risk, each counted once per look; a request of an unknown client counts by itself.
        bad_units: of these, the ones that failed; never more than *units* between two looks.
        abandoned: requests whose client hung up before the answer was complete.
        clients_overflow: requests of clients beyond :data:`CLIENTS_MAX` in one look, which are not in *units*.
    """

    def __init__(self, clients: Clients | None = None, bounds: Sequence[float] = ()) -> None:
        self.requests: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.latency: dict[str, list[int]] = {}
        self._bounds = bounds
        self.units = self.bad_units = 0
        self.abandoned = 0
        self.clients_overflow = 0
        self._clients = clients or Clients()
        self._seen: dict[bytes, bool] = {}  # in this look: whether it failed

    def look(self) -> None:
        """The counts were read: from now on every client counts once more."""
        self._seen.clear()

    def add(self, request: Request, route: str) -> None:
        """Count one request."""
        if _GAVE_UP in request.flags:
            self.abandoned += 1
            return
        failed = request.status >= 500 or request.status == 0 or bool(request.flags & _BROKEN)
        at_risk = self._count_client(request.client, failed)
        if at_risk or route == OTHER:
            self.requests[route] += 1
            self.errors[route] += failed
            if route != OTHER and self._bounds:
                counts = self.latency.setdefault(route, [0] * (len(self._bounds) + 1))
                counts[bisect_left(self._bounds, request.seconds)] += 1

    def _count_client(self, name: str, failed: bool) -> bool:
        """Whether the client was at risk, or is unknown."""
        if not name:
            self.units += 1
            self.bad_units += failed
            return True
        client = blake2b(name.encode(), digest_size=8).digest()
        at_risk = self._clients.at_risk(client)
        if failed:
            self._clients.failed(client)
        if at_risk:
            self._count_at_risk(client, failed)
        return at_risk

    def _count_at_risk(self, client: bytes, failed: bool) -> None:
        if client not in self._seen:
            if len(self._seen) >= CLIENTS_MAX:
                self.clients_overflow += 1
                return
            self._seen[client] = False
            self.units += 1
        if failed and not self._seen[client]:
            self._seen[client] = True
            self.bad_units += 1


class RequestTap:
    """
    Listens to *gateway*, whose settings must have ``request_tap`` on. One at a time: the last one opened gets the
    records.

    Args:
        routes: declared routes such as ``GET /jobs/{id}``; others count as ``*``.
        bounds: upper edges of the latency buckets of declared routes, seconds; without them there is no latency.

    Attributes:
        told: requests heard of since it was opened; stands still when the gateway tells nothing.
    """

    def __init__(self, gateway: EnvoyGateway, routes: Sequence[str] = (), bounds: Sequence[float] = ()) -> None:
        self._bounds = tuple(bounds)
        self.gateway = gateway
        self.epoch = ""
        self.accounts: dict[str, Account] = {}  # by Envoy's name of the version
        self.bad_batches = 0
        self.told = 0
        self._clients = Clients()
        self._templates = [(route, _template(route)) for route in routes]
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """
        Begin to listen, from zero and in a new epoch.

        Raises: UnavailableError when the gateway's directory cannot hold the socket.
        """
        path = self.gateway.tap_path
        self.accounts, self.epoch, self.told = {}, secrets.token_hex(4), 0
        fresh = path.with_name(f"tap.{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        try:
            self._server = await asyncio.start_unix_server(self._receive, fresh)
            fresh.chmod(0o600)
            fresh.rename(path)  # Envoy connects to the name, so a new controller takes over without a gap
        except OSError as error:
            raise UnavailableError(
                f"{path}: expected to listen there for the gateway's records, got {error.strerror or error}. "
                "Is the directory writable, and its path short?"
            ) from error

    async def close(self) -> None:
        """Stop listening. Envoy drops what it would have sent."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @property
    def listening(self) -> bool:
        """Whether it was opened and not closed since."""
        return self._server is not None

    def account(self, version: str) -> Account:
        """What *version* did; an empty account when nothing was heard of it."""
        name = cluster_name(self.gateway.settings.service, version)
        return self.accounts.get(name) or Account(self._clients, self._bounds)

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._add(await _post(reader))
            # One batch per connection: the next one finds whoever owns the socket's name by then.
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            self.bad_batches += 1
        finally:
            writer.close()

    def _add(self, batch: bytes) -> None:
        for request in requests_in(batch):
            self.told += 1
            if request.cluster and not request.cluster.endswith(UNCOUNTED):
                self._account(request.cluster).add(request, self._route(request))

    def _account(self, cluster: str) -> Account:
        if cluster not in self.accounts and len(self.accounts) >= ACCOUNTS_MAX:
            del self.accounts[next(iter(self.accounts))]
            self.epoch = secrets.token_hex(4)  # should it come back, it would begin from zero
        return self.accounts.setdefault(cluster, Account(self._clients, self._bounds))

    def _route(self, request: Request) -> str:
        asked = f"{request.method} {request.path}"
        return next((route for route, template in self._templates if template.fullmatch(asked)), OTHER)


async def _post(reader: asyncio.StreamReader) -> bytes:
    """The body of the next post; empty when there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
    except asyncio.IncompleteReadError:
        return b""
    if b"transfer-encoding: chunked" not in head:
        found = re.search(rb"content-length: *(\d+)", head)
        return await reader.readexactly(min(int(found[1]) if found else 0, BATCH_BYTES_MAX))
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        if len(body) + size > BATCH_BYTES_MAX:
            raise ValueError(f"a batch of more than {BATCH_BYTES_MAX} bytes")
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return bytes(body)


def _template(route: str) -> re.Pattern[str]:
    """``GET /jobs/{id}`` as a pattern: a name in braces is one segment of the path, ``{rest:path}`` any number."""
    words = re.split(r"(\{[^}]*\})", route)
    return re.compile("".join(_segment(word) if word.startswith("{") else re.escape(word) for word in words))


def _segment(word: str) -> str:
    return ".+" if word.endswith(":path}") else "[^/]+"
