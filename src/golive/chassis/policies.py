"""
What applies to which route, known before the app runs.

A policy is put on an endpoint by a decorator and found here by method and path, so that it is enforced outside the
app: before its body is parsed and around everything it does. Only routes that carry a policy are compiled; an app
without any pays nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from golive.chassis.idempotency import IdempotencyRules
from golive.chassis.ratelimit import KeyFunction, Rule
from golive.chassis.routes import RouteTable

MARK = "__golive_policy__"
_PARAMETER = re.compile(r"\\\{[^}]*?(:path)?\\\}")


@dataclass(frozen=True, slots=True)
class Policy:
    """
    Attributes:
        limits: rules and whom they count.
        idempotency: None when the route has none.
        scopes: what a principal needs for the route; not empty means that it must be authenticated.
        public: the route needs no authentication although the service does.
    """

    limits: tuple[tuple[Rule, KeyFunction], ...] = ()
    idempotency: IdempotencyRules | None = None
    scopes: tuple[str, ...] = ()
    public: bool = False


def mark(endpoint: Any, **changes: Any) -> None:
    """Add to the policy an endpoint carries."""
    setattr(endpoint, MARK, replace(getattr(endpoint, MARK, Policy()), **changes))


def policy_of(endpoint: Any) -> Policy | None:
    """The policy on *endpoint*, or None."""
    policy = getattr(endpoint, MARK, None)
    return policy if isinstance(policy, Policy) else None


class PolicyTable:
    """
    The policies of one app's routes, by method and path.

    Attributes:
        any: whether there is one; a plain attribute, because every request asks.
    """

    def __init__(self, app: object) -> None:
        self._exact: dict[tuple[str, str], tuple[str, Policy]] = {}
        self._patterns: list[tuple[frozenset[str], re.Pattern[str], str, Policy]] = []
        self.any = False
        for template, methods, endpoint in RouteTable(app).leaves:
            policy = policy_of(endpoint)
            if policy is not None:
                self.add(template, methods, policy)

    @property
    def idempotent(self) -> list[str]:
        """The templates of the routes that run once per key."""
        patterns = [(template, policy) for _, _, template, policy in self._patterns]
        return sorted({t for t, policy in [*self._exact.values(), *patterns] if policy.idempotency is not None})

    def add(self, template: str, methods: frozenset[str], policy: Policy) -> None:
        """Apply *policy* to *methods* of *template* (``/items/{id}``; ``{rest:path}`` spans segments)."""
        self.any = True
        if "{" not in template:
            self._exact.update({(method, template): (template, policy) for method in methods})
            return
        pattern = _PARAMETER.sub(lambda found: ".+" if found[1] else "[^/]+", re.escape(template))
        self._patterns.append((methods, re.compile(pattern), template, policy))

    def find(self, method: str, path: str) -> tuple[str, Policy] | None:
        """The template and policy for a request, or None. A fixed path wins over a pattern, as in routers."""
        found = self._exact.get((method, path))
        if found is not None:
            return found
        for methods, pattern, template, policy in self._patterns:
            if method in methods and pattern.fullmatch(path):
                return template, policy
        return None
