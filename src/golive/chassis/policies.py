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
from golive.chassis.routes import Leaf, RouteTable

MARK = "__golive_policy__"


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


#: Template and policy of a route.
Found = tuple[str, Policy]
#: Not even a route without a policy.
MISSING: Found = ("", Policy())


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

    The route that the app's router would choose decides, also when that route has no policy: a rule on ``/orders/{id}``
    is none on a ``/orders/public`` before it, and the rule of a route that another hides applies to nobody.

    Attributes:
        any: whether there is one; a plain attribute, because every request asks.
    """

    def __init__(self, app: object) -> None:
        self._exact: dict[tuple[str, str], Found | None] = {}
        self._patterns: list[tuple[frozenset[str], re.Pattern[str], Found | None]] = []
        self.idempotent: list[str] = []
        leaves = [(leaf, policy_of(leaf.endpoint)) for leaf in RouteTable(app).leaves]
        self.any = any(policy is not None for _, policy in leaves)
        while leaves and leaves[-1][1] is None and leaves[-1][0].pattern is not None:
            leaves.pop()  # behind the last rule: a pattern that can hide nothing
        for leaf, policy in leaves if self.any else ():
            self._add(leaf, policy)

    def _add(self, leaf: Leaf, policy: Policy | None) -> None:
        found = (leaf.template, policy) if policy is not None else None
        if policy is not None and policy.idempotency is not None:
            self.idempotent = sorted({*self.idempotent, leaf.template})
        if leaf.pattern is not None:
            self._patterns.append((leaf.methods, leaf.pattern, found))
            return
        for method in leaf.methods:
            before = self._by_pattern(method, leaf.template)
            self._exact.setdefault((method, leaf.template), found if before is MISSING else before)

    def find(self, method: str, path: str) -> Found | None:
        """The template and policy for a request, or None."""
        found = self._exact.get((method, path), MISSING)
        if found is MISSING:
            found = self._by_pattern(method, path) if "\n" not in path else self._with_newline(method, path)
        return found if found is not MISSING else None

    def _by_pattern(self, method: str, path: str) -> Found | None:
        for methods, pattern, found in self._patterns:
            if method in methods and pattern.match(path):
                return found
        return MISSING

    def _with_newline(self, method: str, path: str) -> Found | None:
        """
        Routers disagree with everybody about these: to Starlette ``/admin`` and a newline after it is ``/admin``.

        So every route that may be meant is asked, and the strictest decides.
        """
        candidates = [found for methods, pattern, found in self._patterns if method in methods and pattern.match(path)]
        candidates.append(self._exact.get((method, path.removesuffix("\n"))))
        meant = [found for found in candidates if found is not None and not found[1].public]
        return max(meant, key=lambda found: len(found[1].scopes), default=None)
