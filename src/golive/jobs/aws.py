"""
AWS for the adapters that need it: an address such as ``sqs://name?region=eu-west-1`` becomes a client whose blocking
calls run in threads of its own, and whose errors are golive's.

Credentials, region and endpoint come from where boto3 looks for them (role, profile, ``AWS_REGION``,
``AWS_ENDPOINT_URL_SQS``); ``region`` and ``endpoint`` in the address win. boto3 is loaded on
first use.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from golive.errors import ConfigError, UnavailableError

#: Calls of one client under way at the same time; each is a blocked thread and a connection.
CALLS_MAX = 32
CONNECT_SECONDS = 3.0
#: Above the longest poll of a queue.
READ_SECONDS = 20.0
#: Tries of one call, by botocore, with backoff and jitter: throttling, 5xx, lost connections.
ATTEMPTS_MAX = 6

_SHARED = ("region", "endpoint")


@dataclass(frozen=True)
class Address:
    """``scheme://name/path?option=value``, taken apart. *name* may hold ``{queue}``."""

    name: str
    path: str
    options: dict[str, str]


class AwsError(UnavailableError):
    """AWS said no. Attributes: code (``"ConditionalCheckFailedException"``), response (boto3's)."""

    def __init__(self, message: str, code: str, response: dict[str, Any]) -> None:
        self.code = code
        self.response = response
        super().__init__(message)


def parse(address: str, setting: str, options: Collection[str] = ()) -> Address:
    """
    *address* without its scheme.

    Raises: ConfigError naming *setting* for a missing name, or an option that is not ``region``, ``endpoint`` or one of
    *options*.
    """
    parts = urlsplit(address)
    name = unquote(parts.netloc)
    if not name or "@" in name:
        raise ConfigError(f"{setting}: expected {parts.scheme}://name, got {parts.scheme}://... without a name. "
                          "Credentials are read from the environment.")  # fmt: skip
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = (*_SHARED, *options)
    for unknown in sorted(set(given) - set(known)):
        raise ConfigError(f"{setting}: unknown option {unknown!r}. Known: {', '.join(known)}.")
    return Address(name, unquote(parts.path).strip("/"), given)


def whole_number(address: Address, setting: str, option: str, default: int, least: int, most: int) -> int:
    """
    The value of *option*.

    Raises: ConfigError unless it is a whole number within the bounds.
    """
    text = address.options.get(option, str(default))
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigError(f"{setting}: {option}: expected a whole number from {least} to {most}, got {text!r}.")
    return int(text)


class AwsClient:
    """A boto3 client of *service*, made when first used. Thread-safe and independent of event loops."""

    def __init__(self, service: str, address: Address) -> None:
        self._service = service
        self._address = address
        self._lock = threading.Lock()
        self._client: Any = None
        self._threads: ThreadPoolExecutor | None = None

    async def call(self, method: str, /, **arguments: Any) -> dict[str, Any]:
        """
        What boto3's *method* answers.

        Raises: ConfigError when boto3 is missing or has no region or credentials; AwsError for what AWS refuses;
        UnavailableError when it does not answer.
        """
        return await asyncio.wrap_future(self._pool().submit(self._call, method, arguments))

    async def read(self, method: str, /, **arguments: Any) -> bytes:
        """The body of what *method* answers. Raises as :meth:`call`."""

        def read() -> bytes:
            return bytes(self._call(method, arguments)["Body"].read())

        return await asyncio.wrap_future(self._pool().submit(read))

    def sign(self, method: str, arguments: dict[str, Any], seconds: int) -> str:
        """A link that allows *method* to whoever has it, for so long. No round trip."""
        return str(self._made().generate_presigned_url(method, Params=arguments, ExpiresIn=seconds))

    def close(self) -> None:
        """Calls under way end by themselves. The client comes back when it is used again."""
        with self._lock:
            client, threads, self._client, self._threads = self._client, self._threads, None, None
        if threads:
            threads.shutdown(wait=False)
        if client:
            client.close()

    def _pool(self) -> ThreadPoolExecutor:
        with self._lock:
            self._threads = self._threads or ThreadPoolExecutor(CALLS_MAX, f"golive-{self._service}")
            return self._threads

    def _made(self) -> Any:
        with self._lock:
            self._client = self._client or self._make()
            return self._client

    def _make(self) -> Any:
        try:
            import boto3  # type: ignore[import-untyped]
            from botocore.config import Config  # type: ignore[import-untyped]
            from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        except ImportError as error:
            raise ConfigError(f'{self._service} needs boto3, got no such package. pip install "golive[aws]"') from error
        config = Config(
            connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, max_pool_connections=CALLS_MAX,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX}, s3={"addressing_style": "path"}
            if "endpoint" in self._address.options else None,
            signature_version="s3v4" if self._service == "s3" else None,
        )  # fmt: skip
        try:
            return boto3.session.Session().client(
                self._service, region_name=self._address.options.get("region"),
                endpoint_url=self._address.options.get("endpoint"), config=config,
            )  # fmt: skip
        except (BotoCoreError, ValueError) as error:
            raise ConfigError(f"{self._service}: {error}") from error

    def _call(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        client = self._made()
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        try:
            answer: dict[str, Any] = getattr(client, method)(**arguments)
            return answer
        except ClientError as error:
            found = error.response.get("Error", {})
            message = f"{self._service}: {method}: {found.get('Code')}: {found.get('Message')}"
            raise AwsError(message, str(found.get("Code")), dict(error.response)) from error
        except NoCredentialsError as error:
            raise ConfigError(f"{self._service}: expected AWS credentials in the environment, got none.") from error
        except BotoCoreError as error:
            raise UnavailableError(f"{self._service}: {method}: no answer: {error}") from error
