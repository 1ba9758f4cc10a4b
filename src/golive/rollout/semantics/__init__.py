"""
The rules of other tools, behind the same protocol as :class:`golive.rollout.Judge`: for whoever comes from there and
wants no surprise, and for measuring what is better. They are what those tools document, weaknesses included.

Left out: how those tools talk to clusters and query languages. A rule reads the same snapshots as golive's own judge.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from golive.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from golive.rollout.semantics.rules import Rules

SEMANTICS: Mapping[str, str] = {"argo": "ArgoRules", "flagger": "FlaggerRules", "kayenta": "KayentaRules"}
"""What ``[rollout] semantics`` may say beside "golive"; each is one file of this folder."""


def rules_class(semantics: str) -> type[Rules]:
    """
    The rules named *semantics*.

    Raises: ConfigError when there are none of that name.
    """
    if semantics not in SEMANTICS:
        known = ["golive", *SEMANTICS]
        hint = did_you_mean(semantics, known)
        raise ConfigError(f'rollout/semantics: unknown rules "{semantics}"{hint} Known: {", ".join(known)}.')
    found: type[Rules] = getattr(importlib.import_module(f"golive.rollout.semantics.{semantics}"), SEMANTICS[semantics])
    return found


def restore_rules(stored: Mapping[str, Any]) -> Rules:
    """The rules that :meth:`Rules.to_dict` described. Raises: ConfigError for an unknown name or version."""
    return rules_class(str(stored.get("semantics"))).from_dict(stored)
