"""
The outermost layer, fused: id, in-flight count, metrics, log line, last-resort answer, operator endpoints, guard.

These are one function because each of them alone is wrong without the others: an id that is missing on a 500, a drain
that counts its own probes, a log line without the status. The order is :data:`ORDER`, and it is the order of the code
below.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from golive.chassis import fastapitext, requestid
from golive.chassis.auth import FETCH_KEYS
from golive.chassis.exchange import Exchange
from golive.chassis.lifecycle import Phase
from golive.chassis.limits import LimitReachedError, Refusal
from golive.chassis.policies import Policy, PolicyTable
from golive.chassis.problem import send_problem
from golive.chassis.ratelimit import Decision, Rule, by_address
from golive.chassis.redirects import Redirects
from golive.chassis.routes import WEBSOCKET, RouteNames, owns
from golive.chassis.strictjson import is_json, strict_json
from golive.chassis.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis
    from golive.chassis.cors import Cors
    from golive.chassis.idempotency import IdempotencyRules

#: What a request passes, outermost first. The documentation shows this list.
ORDER = (
    "request id",
    "metrics and log line",
    "last-resort 500",
    "cross-origin rules",
    "operator endpoints",
    "boot and shutdown guard",
    "limits: head, body, requests at once, time",
    "rate limit by address",
    "authentication and scopes",
    "rate limits of the route",
    "in-flight count",
    "idempotency",
    "app",
)


@dataclass(slots=True)
class Handshake:
    """What rate limits look at and write, of a websocket that asks to open."""

    scope: Scope
    quota: tuple[Rule, Decision] | None = None


class Core:
    """
    An ASGI app around another. Made by :meth:`Chassis.wrap`; safe to call with any scope type.

    Attributes:
        app: the app inside; replaced once when the server imports it after this layer is already answering.
    """

    def __init__(self, chassis: Chassis, app: ASGIApp) -> None:
        self.chassis = chassis
        self._owned: dict[str, bool] = {}
        self.app = app = self._moved(app)
        self.names = RouteNames(app)
        self._policies: PolicyTable | None = None

    def replace(self, app: ASGIApp) -> None:
        """Serve *app* from now on."""
        app = self._moved(app)
        self.app, self.names, self._owned, self._policies = app, RouteNames(app), {}, None

    def _moved(self, app: ASGIApp) -> ASGIApp:
        redirects = self.chassis.settings.redirects
        return Redirects(app, redirects) if redirects else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outer: Chassis | None = scope.get("golive")
        if outer is not None:
            await self._inside(outer, scope, receive, send)
            return
        chassis = self.chassis
        scope["golive"] = chassis
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        exchange = Exchange(self, scope, send)
        if exchange.forwarded and chassis.proxies is not None:
            chassis.proxies.apply(scope)
        token = requestid.current.set((exchange.request_id, exchange.trace_id, exchange.trace_flags, exchange))
        lifecycle = chassis.lifecycle
        if not lifecycle.started and not chassis.booted_by_server:
            chassis.begin_serving()  # a server without lifespan: the first request is the start
        try:
            path = exchange.path
            operation = chassis.operations.kind(path, self._owns) if path in chassis.operations.paths else None
            if operation is not None:
                exchange.operational = True
                await chassis.operations.answer(operation, scope, exchange.send, exchange.request_id)
            elif exchange.is_preflight and chassis.cors is not None:
                await self._preflight(exchange, chassis.cors)
            elif lifecycle.admitting or exchange.path in chassis.settings.drain_allow:
                await self._app(exchange, scope, receive)
            else:
                await self._turn_away(exchange, receive)
        finally:
            requestid.current.reset(token)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if self.chassis.proxies is not None:
            self.chassis.proxies.apply(scope)
        if kind == "lifespan":
            await self.chassis.run_lifespan(self.app, scope, receive, send)
        elif kind == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _inside(self, outer: Chassis, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrapped twice: the outer chassis does everything, and runs the checks registered on this one."""
        if scope["type"] == "lifespan":
            for check in self.chassis.checks:
                outer.checks.add(check)
        await self.app(scope, receive, send)

    async def _app(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        chassis = self.chassis
        lifecycle, limits = chassis.lifecycle, chassis.limits
        policies = self._policies if self._policies is not None else self._read_policies()
        path = exchange.path if policies.plain else policies.path(scope)
        found = policies.find(scope["method"], path, scope) if policies.any else None
        refusal = limits.refusal(exchange, lifecycle.in_flight)
        lifecycle.in_flight += 1  # before anything is awaited: a drain waits for it, and the cap counts it
        if refusal is None and (found is not None or chassis.auth.active or chassis.rates.everywhere is not None):
            try:
                if chassis.rates.shared is None:
                    refusal = self._refusal_here(exchange, found, path)
                if chassis.rates.shared is not None or refusal is FETCH_KEYS:
                    refusal = await self._refusal_elsewhere(exchange, found, path)
            except BaseException as error:  # ours, or of a key function of the app: an answer like any other
                lifecycle.in_flight -= 1
                await exchange.failed(error)
                exchange.finish()
                if not isinstance(error, Exception):
                    raise
                return
        if refusal is not None:
            lifecycle.in_flight -= 1  # a refused upload that is still being read takes nobody's place
            await self._refuse(exchange, refusal, receive)
            return
        try:
            counted = limits.counted(exchange, receive) if exchange.chunked else receive
            if exchange.content_type and chassis.settings.strict_json and is_json(exchange.content_type):
                counted = strict_json(exchange, counted)
            rules = found[1].idempotency if found is not None else None
            if limits.timeout_seconds is not None:
                await self._app_in_time(exchange, counted, rules, found[0] if found is not None else "")
            elif rules is None:
                await self.app(scope, counted, exchange.send)
            else:
                assert found is not None
                await chassis.once.run(self.app, exchange, counted, rules, found[0])
            if not exchange.started:
                raise RuntimeError("the app returned without an answer")
        except BaseException as error:
            await exchange.failed(error)
            if exchange.must_abort(error):
                raise
        finally:
            lifecycle.in_flight -= 1
            exchange.finish()

    def _refusal_here(self, exchange: Exchange, found: tuple[str, Policy] | None, path: str) -> Refusal | None:
        """Why the request may not reach the app, asked in the order of :data:`ORDER`; None when it may."""
        rates, auth = self.chassis.rates, self.chassis.auth
        template, policy = found if found is not None else ("", None)
        refusal: Refusal | None = None
        if rates.everywhere is not None:
            refusal = rates.take_here(exchange, rates.everywhere, by_address, "")
        if refusal is None and auth.active:
            refusal = auth.admit(exchange.scope, path, policy, exchange.credentials)
        if refusal is None and policy is not None:
            for rule, key in policy.limits:
                refusal = refusal or rates.take_here(exchange, rule, key, template)
        return refusal

    async def _refusal_elsewhere(
        self, exchange: Exchange, found: tuple[str, Policy] | None, path: str
    ) -> Refusal | None:
        """
        As :meth:`_refusal_here`, with limits in the shared store or keys that must be fetched.

        Credentials that cost nothing to look at are looked at first, so that all limits are one question to the store;
        the store still counts them in order, and none behind one that refuses.
        """
        rates, auth = self.chassis.rates, self.chassis.auth
        template, policy = found if found is not None else ("", None)
        everywhere = [(rates.everywhere, by_address, "")] if rates.everywhere is not None else []
        of_route = [(rule, key, template) for rule, key in policy.limits] if policy is not None else []
        if not auth.active or auth.key_set is None:
            unknown = auth.admit(exchange.scope, path, policy, exchange.credentials) if auth.active else None
            return await rates.take(exchange, *everywhere, *(of_route if unknown is None else ())) or unknown
        refusal = await rates.take(exchange, *everywhere) if rates.shared is not None else None  # else it was asked
        if refusal is None:
            refusal = auth.admit(exchange.scope, path, policy, exchange.credentials)
            if refusal is FETCH_KEYS:
                refusal = await auth.admit_with_new_keys(exchange.scope, path, policy)
        return refusal or await rates.take(exchange, *of_route)

    def _read_policies(self) -> PolicyTable:
        """The routes' policies, read with the first request, when every route has been added."""
        if self.chassis.settings.fast_path and "fastapi" in sys.modules and not fastapitext.obstacle():
            from golive.chassis.fastpath import install

            install(self.app)
        self._policies = PolicyTable(self.app)
        self.chassis.auth.documentation |= self._policies.documentation
        return self._policies

    async def _app_in_time(
        self, exchange: Exchange, receive: Receive, rules: IdempotencyRules | None, template: str
    ) -> None:
        """The app once per key, in time. An idempotent handler that is too slow goes on; its retry gets the result."""
        seconds = self.chassis.limits.timeout_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                if rules is None:
                    await self.app(exchange.scope, receive, exchange.send)
                else:
                    await self.chassis.once.run(self.app, exchange, receive, rules, template)
        except TimeoutError:
            if not limit.expired():
                raise
            exchange.override = self.chassis.limits.time_refusal()
            raise LimitReachedError from None

    async def _preflight(self, exchange: Exchange, cors: Cors) -> None:
        """Answered here: before authentication, because browsers send none, and before limits."""
        given = {
            name: value for name, value in exchange.scope["headers"] if name.startswith(b"access-control-request-")
        }
        asked = given.get(b"access-control-request-headers", b"")
        headers = cors.preflight(exchange.origin, given[b"access-control-request-method"], asked)
        if headers is None:
            exchange.origin = b""
            await send_problem(
                exchange.send, 403, "This cross-origin request is not allowed.", request_id=exchange.request_id
            )
        else:
            await exchange.send({"type": "http.response.start", "status": 204, "headers": headers})
            await exchange.send({"type": "http.response.body", "body": b""})
        exchange.finish()

    async def _turn_away(self, exchange: Exchange, receive: Receive) -> None:
        """The guard's answer, before the body is read: a large upload learns at once that it must go elsewhere."""
        draining = self.chassis.lifecycle.phase is Phase.DRAINING
        detail = "The service is shutting down." if draining else "The service is starting."
        wait = max(1, round(self.chassis.settings.retry_after.total_seconds()))
        await self._refuse(exchange, Refusal(503, detail, wait), receive)

    async def _refuse(self, exchange: Exchange, refusal: Refusal, receive: Receive) -> None:
        await exchange.refuse(refusal, receive if exchange.body_bytes or exchange.chunked else None, close=True)
        exchange.finish()

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        lifecycle = self.chassis.lifecycle
        refused = await self._websocket_refusal(scope) if lifecycle.admitting else (1012, "service restart")
        if refused is not None:
            code, reason = refused
            await receive()
            await send({"type": "websocket.close", "code": code, "reason": reason})
            return
        lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            lifecycle.in_flight -= 1

    async def _websocket_refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Why a handshake may not pass, asked in the order of :data:`ORDER`, as a close code and its reason."""
        auth, rates = self.chassis.auth, self.chassis.rates
        policies = self._policies if self._policies is not None else self._read_policies()
        found = policies.find(WEBSOCKET, policies.path(scope), scope) if policies.any else None
        counted = Handshake(scope)
        if rates.everywhere is not None and await rates.take(counted, (rates.everywhere, by_address, "")) is not None:
            return 1013, "try again later"
        if auth.active and not await auth.admits_websocket(scope, found[1] if found is not None else None):
            return 1008, "not authenticated"
        of_route = [(rule, key, found[0]) for rule, key in found[1].limits] if found is not None else []
        if of_route and await rates.take(counted, *of_route) is not None:
            return 1013, "try again later"
        return None

    def _owns(self, path: str) -> bool:
        """Whether the app answers *path* itself; asked once per path, when the first request comes."""
        if not self.chassis.lifecycle.started:
            return False
        if path not in self._owned:
            self._owned[path] = owns(self.app, path)
        return self._owned[path]
