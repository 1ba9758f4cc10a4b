"""Where large results are kept: one technology per file, behind :class:`golive.jobs.results.ports.ResultStore`."""

from __future__ import annotations

from golive.errors import ConfigError
from golive.jobs.results.ports import ResultStore

#: The word for the default: in the job's own row.
INLINE = "inline"


def results_for(address: str) -> ResultStore | None:
    """
    The place *address* names, not opened yet; None for the job's own row.

    Raises: ConfigError for an address nobody understands.
    """
    if address == INLINE:
        return None
    if address.startswith("file:") and address.removeprefix("file:").strip("/"):
        from golive.jobs.results.file import FileResults

        path = address.removeprefix("file:")
        return FileResults(path.removeprefix("//") if path.startswith("///") else path)
    if address.startswith("s3://"):
        from golive.jobs.results.s3 import S3Results

        return S3Results(address)
    raise ConfigError(f'jobs.results: expected "{INLINE}", "file:folder" or "s3://bucket/prefix", got {address!r}.')
