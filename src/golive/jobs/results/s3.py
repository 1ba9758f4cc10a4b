"""
Results in S3: ``s3://bucket/prefix?region=&endpoint=``. Clients fetch them by signed links, past the service.

The bucket is made by whoever owns the infrastructure: private, encrypted, as it should be. A signed link cannot be
taken back; it is given out after the job's tenant was checked, and lives for minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from golive.errors import ConfigError
from golive.jobs.aws import AwsClient, AwsError, parse
from golive.jobs.results.ports import ResultCapability, checked

#: Objects one sweep looks at in one call, and removes in one call.
PAGE_MAX = 1000


class S3Results:
    """See :class:`golive.jobs.results.ports.ResultStore`."""

    capabilities = frozenset({ResultCapability.LINKS})

    def __init__(self, address: str) -> None:
        parsed = parse(address, "jobs.results")
        self._bucket = parsed.name
        self._prefix = f"{parsed.path}/" if parsed.path else ""
        self._client = AwsClient("s3", parsed)

    async def open(self) -> None:
        """See the port."""
        try:
            await self._client.call("head_bucket", Bucket=self._bucket)
        except AwsError as error:
            raise ConfigError(
                f"jobs.results: expected a bucket {self._bucket!r} this service may use, got: {error.code}."
            ) from error

    async def close(self) -> None:
        """See the port."""
        self._client.close()

    async def put(self, name: str, result: bytes) -> None:
        """See the port."""
        await self._client.call("put_object", **self._object(name), Body=result, ContentType="application/json")

    async def get(self, name: str) -> AsyncIterator[bytes] | None:
        """See the port."""
        try:
            return _one(await self._client.read("get_object", **self._object(name)))
        except AwsError as error:
            if error.code in ("NoSuchKey", "404"):
                return None
            raise

    async def link(self, name: str, seconds: int) -> str | None:
        """See the port. A link to a result that is gone is given out as well; S3 answers 404 then."""
        return self._client.sign("get_object", self._object(name), seconds)

    async def sweep(self, before: float, limit: int) -> int:
        """See the port. Names sort by time, so the oldest come first."""
        listed = await self._client.call(
            "list_objects_v2", Bucket=self._bucket, Prefix=self._prefix, MaxKeys=min(limit, PAGE_MAX)
        )
        old = [{"Key": each["Key"]} for each in listed.get("Contents", ()) if each["LastModified"].timestamp() < before]
        if old:
            await self._client.call("delete_objects", Bucket=self._bucket, Delete={"Objects": old, "Quiet": True})
        return len(old)

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}{checked(name)}"}


async def _one(result: bytes) -> AsyncIterator[bytes]:
    yield result
