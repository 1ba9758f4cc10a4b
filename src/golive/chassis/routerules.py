"""
What a team writes on its routes: the decorators of a chassis.

Each puts a rule on an endpoint and returns it unchanged; the rules are enforced outside the app (see
:mod:`golive.chassis.policies`). Put them below the framework's route decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from golive.chassis.auth import can_verify
from golive.chassis.idempotency import IdempotencyRules
from golive.chassis.policies import Policy, mark, policy_of
from golive.chassis.ratelimit import KeyFunction, RateLimits, by_address, parse_rule
from golive.chassis.routes import RouteTable
from golive.chassis.types import Scope
from golive.errors import ConfigError
from golive.timing import parse_duration

if TYPE_CHECKING:
    from golive.chassis.settings import ChassisSettings

AnyT = TypeVar("AnyT", bound=Callable[..., object])


class RouteRules:
    """The part of :class:`golive.chassis.chassis.Chassis` that is written on routes."""

    settings: ChassisSettings
    rates: RateLimits
    ruled: list[Callable[..., object]]

    def _mark(self, endpoint: Callable[..., object], **changes: Any) -> None:
        before = policy_of(endpoint)
        mark(endpoint, **changes)
        if before is not None:  # a wrapper with the mark of what it wraps: its rules hold now, or are said to be lost
            self.ruled[:] = [each for each in self.ruled if policy_of(each) is not before]
        if endpoint not in self.ruled:
            self.ruled.append(endpoint)

    def unheld(self, app: object) -> list[str]:
        """Endpoints that carry a rule and hang on no route of *app* that we can see: nothing holds their rules."""
        held = {id(policy_of(leaf.endpoint)) for leaf in RouteTable(app).leaves}
        return [getattr(each, "__qualname__", repr(each)) for each in self.ruled if id(policy_of(each)) not in held]

    def limit(self, rate: str, *, by: KeyFunction = by_address, name: str = "default") -> Callable[[AnyT], AnyT]:
        """
        Limit a route; the decorated endpoint is returned unchanged. Put it below the framework's route decorator.

        Args:
            rate: such as ``"100/minute"`` or ``"5/10s"``.
            by: whom to count: from the request's scope to a text, or None for a caller without limit. By default the
                address.
            name: shown to callers in ``RateLimit-Policy``.

        Raises: ConfigError when *rate* is not a rate, or the shared store's client is missing.
        """
        self.rates.connect()
        try:
            rule = parse_rule(rate, name)
        except ValueError as error:
            raise ConfigError(f"limit: {error}.") from None

        def register(endpoint: AnyT) -> AnyT:
            held = policy_of(endpoint) or Policy()
            self._mark(endpoint, limits=(*held.limits, (rule, by)))
            return endpoint

        return register

    def requires(self, *scopes: str) -> Callable[[AnyT], AnyT]:
        """
        A route needs credentials with all of *scopes*; put it below the framework's route decorator.

        Raises: ConfigError when there is nothing to verify credentials with, or no scope is named.
        """
        if not scopes or not can_verify(self.settings):
            raise ConfigError("requires: expected scopes, and jwt_secret, jwks_url or api_key_hashes to verify with.")

        def register(endpoint: AnyT) -> AnyT:
            self._mark(endpoint, scopes=scopes)
            return endpoint

        return register

    def public(self, endpoint: AnyT) -> AnyT:
        """A route that needs no credentials although the service does; put it below the route decorator."""
        self._mark(endpoint, public=True)
        return endpoint

    def idempotent(
        self,
        *,
        on_duplicate: str = "replay",
        in_flight: str | None = None,
        required: bool = False,
        scope: Callable[[Scope], str | None] | None = None,
        ttl: str = "24h",
        lease: str = "30s",
        save_5xx: bool = False,
        on_store_error: str = "closed",
        derive: bool = False,
        source: str = "",
    ) -> Callable[[AnyT], AnyT]:
        """
        Run a route once per ``Idempotency-Key``; put it below the framework's route decorator.

        See :class:`golive.chassis.idempotency.IdempotencyRules` for the arguments; *in_flight* is ``wait`` for ``204``
        and ``reject`` for ``replay`` unless given. Durations are texts such as ``"24h"``.

        Raises: ConfigError naming every argument that is wrong.
        """
        waits = in_flight or ("wait" if on_duplicate == "204" else "reject")
        faults = [
            f"idempotent: {label}: expected {' or '.join(known)}, got {value!r}."
            for label, value, known in (
                ("on_duplicate", on_duplicate, ("replay", "204")),
                ("in_flight", waits, ("reject", "wait")),
                ("on_store_error", on_store_error, ("closed", "open")),
            )
            if value not in known
        ]
        seconds = {}
        for label, text in (("ttl", ttl), ("lease", lease)):
            try:
                seconds[label] = parse_duration(text).total_seconds()
            except ValueError as error:
                faults.append(f"idempotent: {label}: {error}")
        if faults:
            raise ConfigError(*faults)
        rules = IdempotencyRules(
            on_duplicate=on_duplicate,
            in_flight=waits,
            required=required,
            scope=scope,
            ttl_seconds=seconds["ttl"],
            lease_seconds=seconds["lease"],
            save_5xx=save_5xx,
            on_store_error=on_store_error,
            derive=derive,
            source=source,
        )

        def register(endpoint: AnyT) -> AnyT:
            self._mark(endpoint, idempotency=rules)
            return endpoint

        return register
