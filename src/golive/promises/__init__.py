"""
What a service promises about itself beyond a URL and a tree: one dataclass per table of ``[gates]``, plain data.

A gate asks :meth:`golive.gates.Target.required` for its promise; a promise nobody made is UNAVAILABLE, with the name of
the table that is missing. golive.toml, its JSON Schema and its error messages are made from these classes (see
:mod:`golive.config.promises`), so a promise is written down once, here, with its reasons. They lie below both rooms,
because neither the gates nor the configuration may load the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from golive.promises import behaviour, operation, release, state, tools

#: name of the table in ``[gates]`` -> its promise
PROMISES: Mapping[str, type] = {
    **behaviour.TABLES,
    **operation.TABLES,
    **state.TABLES,
    **release.TABLES,
    **tools.TABLES,
}

__all__ = ["PROMISES"]
