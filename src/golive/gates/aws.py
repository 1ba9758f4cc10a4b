"""
boto3, asked from gates: made lazily, called in a thread, its errors in our words. Missing is UNAVAILABLE.

A client is for one service of one region; *endpoint* is another server than AWS, for tests and for compatible stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from golive.errors import UnavailableError

T = TypeVar("T")
_ABSENT = ("NotFound", "NonExistent", "NoSuch", "ResourceNotFound", "404", "DoesNotExist")
_TIMEOUT_SECONDS = 10


class Aws:
    """One region of one account."""

    def __init__(self, region: str, endpoint: str = "") -> None:
        """Raises: UnavailableError without boto3."""
        try:
            import boto3  # type: ignore[import-untyped]
            import botocore.config  # type: ignore[import-untyped]
            import botocore.exceptions  # type: ignore[import-untyped]
        except ImportError:
            raise UnavailableError('looking at AWS needs boto3: pip install "golive[aws]" or boto3') from None
        self._session = boto3.session.Session(region_name=region)
        self._config = botocore.config.Config(
            connect_timeout=_TIMEOUT_SECONDS, read_timeout=_TIMEOUT_SECONDS, retries={"max_attempts": 2}
        )
        self._endpoint = endpoint or None
        self._errors = botocore.exceptions

    async def call(self, service: str, work: Callable[[Any], T]) -> T | None:
        """
        What *work* returns, given a client of *service*; None when what it asked for does not exist.

        Raises: UnavailableError when AWS cannot be asked: no credentials, no rights, no answer.
        """
        return await asyncio.to_thread(self._call, service, work)

    def _call(self, service: str, work: Callable[[Any], T]) -> T | None:
        try:
            return work(self._session.client(service, endpoint_url=self._endpoint, config=self._config))
        except self._errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if any(word in code for word in _ABSENT):
                return None
            raise UnavailableError(f"{service}: {code}: {error.response['Error'].get('Message', '')}") from None
        except self._errors.BotoCoreError as error:
            raise UnavailableError(f"{service}: {error}") from None
