"""
Kinds of value a promise is made of. Plain Python types with a mark that says how golive.toml writes them.
"""

from __future__ import annotations

from typing import Annotated

Seconds = Annotated[float, "seconds"]
"""Written as a duration, ``"90s"``; zero is allowed."""
UrlPath = Annotated[str, "path"]
"""From ``/``."""
Ratio = Annotated[float, "ratio"]
"""0..1"""
Argv = tuple[str, ...]
"""A program and its arguments, no shell; ``{python}`` is the interpreter of golive."""
Globs = tuple[str, ...]
"""Relative to the project, ``**`` over folders."""
