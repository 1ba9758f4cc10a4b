"""
What a version may be called. The name becomes a folder, a header value and a label, so it is checked where it enters.
"""

from __future__ import annotations

import re

from golive.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def check_version(name: str) -> str:
    """
    *name* itself, when it can be a version.

    Raises: UsageError otherwise; ``../x``, an empty name and one of 65 characters are refused here.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"version: expected 1 to 64 letters, digits or . _ + - beginning with a letter or digit, got {name!r}. "
            "Use for example a tag such as v1.4.2."
        )
    return name
