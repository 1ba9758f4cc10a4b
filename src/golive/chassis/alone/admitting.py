"""Who may: pages of other origins (:mod:`golive.chassis.cors`), callers (``auth``), and whose address it is."""

from __future__ import annotations

from golive.chassis.addresses import TrustedProxies
from golive.chassis.alone.concern import Concern, Passage, answered
from golive.chassis.auth import FETCH_KEYS
from golive.chassis.limits import Refusal
from golive.chassis.policies import Policy
from golive.chassis.problem import send_problem
from golive.chassis.requestid import request_id
from golive.chassis.settings import ChassisSettings
from golive.chassis.types import ASGIApp, Headers, Message, Receive, Scope, Send
from golive.errors import ConfigError


class CrossOrigin(Concern):
    """
    The cross-origin rules of the ``cors_`` settings; preflights are answered here.

    Raises: ConfigError when the settings name no origin.
    """

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        super().__init__(app, settings)
        if self.chassis.cors is None:
            raise ConfigError("cors_origins: expected at least one origin, got none.")
        self._cors = self.chassis.cors

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        given = {name: value for name, value in scope["headers"] if name == b"origin" or name.startswith(b"access-")}
        origin = given.get(b"origin", b"")

        def head(start: Message) -> Headers:
            kept = [pair for pair in start.get("headers", ()) if pair[0].lower() != b"access-control-allow-origin"]
            return [*kept, *self._cors.answer_headers(origin)]

        method = given.get(b"access-control-request-method")
        if scope["method"] != "OPTIONS" or not origin or method is None:
            await self.app(scope, receive, answered(send, head))
            return
        allowed = self._cors.preflight(origin, method, given.get(b"access-control-request-headers", b""))
        if allowed is None:
            vary = {b"vary": b"Origin"}
            told = "This cross-origin request is not allowed."
            await send_problem(send, 403, told, headers=vary, request_id=request_id() or None)
            return
        respond = answered(send, head)
        await respond({"type": "http.response.start", "status": 204, "headers": allowed})
        await respond({"type": "http.response.body", "body": b""})


class Authenticated(Concern):
    """
    Bearer tokens and API keys by the ``jwt_``, ``jwks_url`` and ``api_key_hashes`` settings; the principal is in
    ``scope["state"]``. Without ``require_auth`` a caller without credentials passes, as nobody.

    Args:
        scopes: what every caller needs.
    """

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None, *, scopes: tuple[str, ...] = ()) -> None:
        super().__init__(app, settings)
        self._policy = Policy(scopes=scopes)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        passage = Passage(scope, send)
        refusal = await self._refusal(scope, passage.path)
        if refusal is not None:
            await passage.turn_away(refusal, receive)
        else:
            await self.app(scope, receive, send)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The same credentials, in the headers of the handshake."""
        if await self._refusal(scope, "") is None:
            await self.app(scope, receive, send)
            return
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "not authenticated"})

    async def _refusal(self, scope: Scope, path: str) -> Refusal | None:
        auth = self.chassis.auth
        refusal = auth.admit(scope, path, self._policy)
        if refusal is FETCH_KEYS:
            refusal = await auth.admit_with_new_keys(scope, path, self._policy)
        return refusal


class TrustedAddresses(Concern):
    """``scope["client"]`` and ``scope["scheme"]`` as ``trusted_proxies`` say, and nobody else."""

    def __init__(self, app: ASGIApp, settings: ChassisSettings | None = None) -> None:
        super().__init__(app, settings)
        self._proxies = TrustedProxies(self.chassis.settings.trusted_proxies)

    async def http(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See :class:`Concern`."""
        self._proxies.apply(scope)
        await self.app(scope, receive, send)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As a request."""
        await self.http(scope, receive, send)
