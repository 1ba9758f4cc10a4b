"""Whether tables that golive made are those this golive works with."""

from __future__ import annotations

from golive.doctor.finding import Finding, fail, ok, warn


def schema(where: str, component: str, there: int | None, ours: int) -> Finding:
    """*there* is the schema version found for *component* at *where*, None when there is none; *ours* the code's."""
    if there is None:
        return ok("database", f"{where}: {component} has no tables yet; the first start makes them")
    if there > ours:
        return fail("database", f"{where}: {component} has schema {there}, this golive knows {ours}",
                    "A newer golive made these tables: use that version, or name another table.")  # fmt: skip
    if there < ours:
        return warn("database", f"{where}: {component} has schema {there} of {ours}",
                    "The next start brings it up to date; try it on a copy first when the table is large.")  # fmt: skip
    return ok("database", f"{where}: {component} is migrated (schema {there})")
