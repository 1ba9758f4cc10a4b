"""Asking git about the tree that is judged: bounded, read only, and UNAVAILABLE where there is no repository."""

from __future__ import annotations

import asyncio
from pathlib import Path

from golive.errors import UnavailableError

_TIMEOUT_SECONDS = 20.0
_OUTPUT_MAX = 4 * 1024 * 1024


async def git(root: Path | None, *arguments: str) -> str | None:
    """
    What ``git ARGUMENTS`` prints in *root*; None when it ends with an error.

    Raises: UnavailableError without git, or when it does not end.
    """
    if root is None or not root.is_dir():  # noqa: ASYNC240 - one stat of a local folder
        raise UnavailableError("no source tree: nothing to ask git about")
    try:
        process = await asyncio.create_subprocess_exec(
            "git", "-c", "core.fsmonitor=false", *arguments, cwd=root, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise UnavailableError(f"git: cannot be started ({error.strerror})") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise UnavailableError(f"git was not done within {_TIMEOUT_SECONDS:g} s") from None
    return output[:_OUTPUT_MAX].decode("utf-8", "replace") if process.returncode == 0 else None


async def head(root: Path | None) -> str | None:
    """The commit that is checked out, or None outside a repository and without git."""
    try:
        found = await git(root, "rev-parse", "HEAD")
    except UnavailableError:
        return None
    return found.strip() if found else None
