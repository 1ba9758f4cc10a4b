"""
The chassis about itself: what is on, with which numbers, how it is, and what deserves a second look.

Plain data for ``chassis.report()``, a support ticket or a gate. It holds no secret: settings that are secrets are
shown as whether they are set.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from golive.chassis import fastapitext
from golive.chassis.core import ORDER
from golive.chassis.platforms import PLATFORMS
from golive.chassis.policies import policy_of
from golive.chassis.routes import RouteTable
from golive.chassis.stores.choice import store_kind

if TYPE_CHECKING:
    from golive.chassis.chassis import Chassis

_LOCAL = ("localhost", "127.0.0.1", "::1")


def report(chassis: Chassis) -> dict[str, Any]:
    """See :meth:`golive.chassis.chassis.Chassis.report`."""
    settings, rates = chassis.settings, chassis.rates
    platform = PLATFORMS.get(settings.platform)
    return {
        "service": settings.service,
        "version": settings.version,
        "environment": settings.environment,
        "phase": chassis.lifecycle.phase.value,
        "order": list(ORDER),
        "shutdown": {
            "platform": settings.platform,
            "lame_duck_seconds": settings.lame_duck.total_seconds(),
            "grace_seconds": settings.grace.total_seconds(),
            "platform_seconds": platform.limit.total_seconds() if platform is not None else None,
        },
        "limits": {
            "head_max_bytes": settings.head_max_bytes,
            "body_max_bytes": settings.body_max_bytes,
            "concurrency_max": settings.concurrency_max,
            "request_timeout_seconds": chassis.limits.timeout_seconds,
            "strict_json": settings.strict_json,
        },
        "fast_path": {"on": settings.fast_path, "obstacle": fastapitext.obstacle()},
        "rate_limit": {
            "everywhere": settings.rate_limit,
            "shared": rates.shared is not None,
            "on_store_error": settings.rate_limit_on_store_error,
        },
        "authentication": {
            "required": settings.require_auth,
            "shared_secret": bool(settings.jwt_secret),
            "public_keys": len(chassis.auth.key_set.keys) if chassis.auth.key_set is not None else None,
            "api_keys": len(settings.api_key_hashes),
        },
        "cross_origin": {"origins": list(settings.cors_origins), "credentials": settings.cors_credentials},
        "idempotency": {"store": store_kind(settings)[0]},
        "checks": {check.name: check.status for check in chassis.checks},
        "breakers": {name: breaker.state for name, breaker in chassis.breakers.items()},
        "pools": {
            **{name: {"pool_max": settings.db_pool_max, "budget": pool.budget} for name, pool in chassis.pools.items()},
            **{name: {"pool_max": each.size_max, "budget": each.budget} for name, each in chassis.engines.items()},
        },
        "views": {view.name: view.every_seconds for view in chassis.views},
        "errors": {"file": bool(settings.error_file), "sentry": chassis.sentry is not None},
        "warnings": warnings_of(chassis),
    }


def rules_of(app: object) -> dict[str, dict[str, Any]]:
    """The rules on the routes of *app*, by method and template."""
    found = {}
    for leaf in RouteTable(app).leaves:
        policy = policy_of(leaf.endpoint)
        if policy is not None:
            found[f"{','.join(sorted(leaf.methods - {'HEAD'})) or '*'} {leaf.template}"] = {
                "limits": [f"{rule.quota}/{rule.window_seconds}s" for rule, _ in policy.limits],
                "idempotent": policy.idempotency.on_duplicate if policy.idempotency is not None else None,
                "scopes": list(policy.scopes),
                "public": policy.public,
            }
    return found


def fast_routes_of(app: object) -> dict[str, str]:
    """By method and template of each route: ``"fast"``, or why its framework serves it itself (``docs/chassis.md``)."""
    why = fastapitext.obstacle()
    if "fastapi" in sys.modules and not why:
        from golive.chassis.fastpath import explain

        found = explain(app)
        if found:
            return found
    found = {}
    for leaf in RouteTable(app).leaves:
        found[f"{','.join(sorted(leaf.methods)) or '*'} {leaf.template}"] = why or "the app is not FastAPI"
    return found


def warnings_of(chassis: Chassis) -> list[str]:
    """What is allowed and probably not meant; each names its setting."""
    settings = chassis.settings
    several = max(settings.rate_limit_processes, settings.db_processes * settings.db_replicas) > 1
    budgets = {name: pool.budget for name, pool in chassis.pools.items()}
    budgets.update({name: engine.budget for name, engine in chassis.engines.items()})
    found = [f"pool {name}: {budget}" for name, budget in budgets.items() if budget]
    found += chassis.stores.warnings
    if several and chassis.rates.everywhere is not None and chassis.rates.shared is None:
        found.append("rate_limit: several processes count for themselves; together they allow more. Set redis_url.")
    if several and settings.idempotency_store == "memory":
        found.append(
            "idempotency_store: memory is one process's; another runs a duplicate again. Set redis or postgres."
        )
    if settings.environment != "production":
        return found
    if not settings.require_auth:
        found.append("require_auth: off in production: every route without a rule of its own is open.")
    for name in ("redis_url", "rate_limit_redis_url", "database_url"):
        if urlsplit(getattr(settings, name)).hostname in _LOCAL:
            found.append(f"{name}: expected a server of production, got one on this machine.")
    if not settings.error_file and not settings.sentry_dsn:
        found.append("sentry_dsn, error_file: unhandled errors are kept nowhere but in the log.")
    if not settings.platform:
        found.append("platform: not said, so nobody checked that the shutdown fits into its patience.")
    return found
