"""
Evidence bundles: files and a manifest of their hashes in one zip, to be checked years later on a machine that has no
state of golive. Gates and rollouts write theirs in this one format.

    MANIFEST.json     {"schema": "golive/bundle/v1", "meta": {...}, "files": {name: {"sha256": ..., "bytes": ...}}}
    MANIFEST.sha256   the hash of MANIFEST.json, as sha256sum writes it
    ...               the files

The same files and meta are the same bytes: names sorted, no clock, nothing compressed by the zip (what is large comes
compressed). Therefore :func:`verify_bundle` can compare *every* byte with what it should be, headers included, and a
folder into which a bundle was unpacked is as good as the zip: ``sha256sum -c MANIFEST.sha256`` works there too.

A bundle says that nothing was changed since it was written, not who wrote it: who could write it anew could also write
other hashes. Keep its digest (:func:`write_bundle` returns it) somewhere else when that matters.
Left out: extracting. Nothing here ever writes a file whose name came out of a bundle.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from golive.errors import StateError, UsageError

SCHEMA = "golive/bundle/v1"
MANIFEST, SEAL = "MANIFEST.json", "MANIFEST.sha256"

FILES_MAX = 10_000
BYTES_MAX = 256 * 1024 * 1024
"""All files of one bundle together, when it is written and when it is read: one from elsewhere may be a trap."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644 << 16
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=,-]{0,199}")


class Bundle:
    """
    A bundle that was opened, not yet believed.

    Attributes:
        meta: what the writer said about it.
        names: its files, sorted, without the manifest.
        digest: the hash of the manifest, which names all others.
    """

    def __init__(self, path: Path, contents: _Contents) -> None:
        self.path = path
        self._contents = contents
        raw = contents.read(MANIFEST)
        self.digest = hashlib.sha256(raw).hexdigest()
        try:
            manifest = json.loads(raw)
            self.meta: dict[str, Any] = dict(manifest["meta"])
            self._claims = {str(name): (str(it["sha256"]), int(it["bytes"])) for name, it in manifest["files"].items()}
            known = manifest["schema"] == SCHEMA
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"{path}: expected a manifest of {SCHEMA}, got one that cannot be read: {error}."
            ) from None
        if not known:
            raise StateError(
                f"{path}: expected {SCHEMA}, got {manifest['schema']!r}. Use the golive version that wrote it."
            )

    @property
    def names(self) -> list[str]:
        """See the class."""
        return sorted(self._claims)

    def read(self, name: str) -> bytes:
        """
        The content of *name*.

        Raises: StateError when the bundle has no such file.
        """
        return self._contents.read(name)

    def findings(self) -> Iterator[str]:
        """What is wrong, one sentence each; nothing when every byte is as it was written."""
        if self._found(SEAL) != _seal(self.digest):
            yield f"{MANIFEST}: its content does not match {SEAL}"
        for name in sorted(set(self._contents.sizes) - set(self._claims) - {MANIFEST, SEAL}):
            yield f"{name}: the manifest does not know it"
        for name in self.names:
            if name not in self._contents.sizes:
                yield f"{name}: missing"
            elif (content := self._found(name)) is None or _fingerprint(content) != self._claims[name]:
                yield f"{name}: its content does not match its hash"
        yield from self._contents.findings()

    def _found(self, name: str) -> bytes | None:
        try:
            return self._contents.read(name)
        except StateError:
            return None


def write_bundle(path: Path, files: Mapping[str, bytes | str], meta: Mapping[str, Any]) -> str:
    """
    Write *files* and *meta* to the zip *path*, whole or not at all. An older one there is replaced.

    Args:
        files: content by name, ``"gates/health.json"``; text becomes UTF-8.
        meta: JSON about the bundle; say at least ``kind``.

    Returns: the digest of the bundle.
    Raises: UsageError for a name that is no plain relative path, or when the bundle would be too large;
    StateError when it cannot be written.
    """
    contents = {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}
    _check(path, {name: len(content) for name, content in contents.items()})
    for name in contents:
        if name in (MANIFEST, SEAL):
            raise UsageError(f"{path}: {name} is written by golive itself; give the file another name.")
    listed = {name: dict(zip(("sha256", "bytes"), _fingerprint(contents[name]), strict=True)) for name in contents}
    manifest = json.dumps({"schema": SCHEMA, "meta": dict(meta), "files": listed}, indent=1, sort_keys=True) + "\n"
    raw = manifest.encode()
    digest = hashlib.sha256(raw).hexdigest()
    _replace(path, _zipped({**contents, MANIFEST: raw, SEAL: _seal(digest)}))
    return digest


def open_bundle(path: Path) -> Bundle:
    """
    The bundle at *path*, a zip or the folder it was unpacked into.

    Raises: StateError when there is none, or its names and sizes are those of a trap.
    """
    try:
        return Bundle(path, _Folder(path) if path.is_dir() else _Zip(path))
    except (OSError, UsageError, zipfile.BadZipFile, RuntimeError) as error:
        # The last is zipfile's word for a zip of a version after its own: as little a bundle as any other file.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise StateError(f"{path}: expected an evidence bundle, got: {reason}") from None


def verify_bundle(path: Path) -> list[str]:
    """What is wrong with the bundle at *path*, one sentence each; empty when every byte is as it was written."""
    try:
        return list(open_bundle(path).findings())
    except StateError as error:
        return [str(error)]


# ---- where the files are


class _Contents(ABC):
    """Names and sizes, known before anything is read; then the files themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sizes: dict[str, int] = {}

    def read(self, name: str) -> bytes:
        if name not in self.sizes:
            raise StateError(f"{self.path}: expected an evidence bundle, got one without {name}.")
        return self._read(name)

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    def findings(self) -> Iterator[str]:
        yield from ()


class _Zip(_Contents):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        size = path.stat().st_size
        if size > BYTES_MAX + FILES_MAX * 1024:
            raise UsageError(f"a file of {size:,} bytes, more than a bundle ever has.")
        self.raw = path.read_bytes()
        self.archive = zipfile.ZipFile(io.BytesIO(self.raw))
        for info in self.archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise UsageError(f"{info.filename!r} compressed by the zip, which golive never does.")
            if info.filename in self.sizes:
                raise UsageError(f"{info.filename!r} twice.")
            self.sizes[info.filename] = info.file_size
        _check(path, self.sizes)

    def _read(self, name: str) -> bytes:
        try:
            return self.archive.read(name)
        except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
            # All are zipfile's words for a flipped byte: a wrong checksum, an end too soon, or (RuntimeError) a bit
            # that says encrypted, patched, or compressed in a way it does not know.
            raise StateError(f"{self.path}: expected to read {name}, got: {error}.") from None

    def findings(self) -> Iterator[str]:
        """Headers and order are compared too: a zip written anew from the same files has the same bytes."""
        try:
            anew = _zipped({name: self._read(name) for name in self.sizes})
        except StateError:
            return  # a file that cannot be read has been found already
        if anew != self.raw:
            yield f"{self.path.name}: bytes outside the files are not as golive writes them"


class _Folder(_Contents):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                full = Path(folder, name)
                mode = full.lstat().st_mode
                if stat.S_ISREG(mode):
                    self.sizes[full.relative_to(path).as_posix()] = full.lstat().st_size
                elif not stat.S_ISDIR(mode):
                    raise UsageError(f"{full.relative_to(path)} is no plain file.")
            if len(self.sizes) > FILES_MAX + 2:
                break
        _check(path, self.sizes)

    def _read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()


# ---- bytes


def _check(path: Path, sizes: Mapping[str, int]) -> None:
    """Raises UsageError when a name could leave the folder it is unpacked into, or there is too much of it."""
    folded: set[str] = set()
    for name in sizes:
        parts = name.split("/")
        if len(name) > 400 or not all(_PART.fullmatch(part) for part in parts):
            raise UsageError(f"{path}: expected plain relative names such as gates/health.json, got {name!r}.")
        if name.casefold() in folded:
            raise UsageError(f"{path}: {name!r} differs from another name only in case, which some disks cannot keep.")
        folded.add(name.casefold())
    if len(sizes) > FILES_MAX + 2:
        raise UsageError(f"{path}: expected at most {FILES_MAX:,} files, got {len(sizes):,}.")
    if (total := sum(sizes.values())) > BYTES_MAX:
        raise UsageError(f"{path}: expected at most {BYTES_MAX:,} bytes, got {total:,}. Leave something out.")


def _fingerprint(content: bytes) -> tuple[str, int]:
    return hashlib.sha256(content).hexdigest(), len(content)


def _seal(digest: str) -> bytes:
    return f"{digest}  {MANIFEST}\n".encode()


def _zipped(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in (MANIFEST, SEAL, *sorted(set(contents) - {MANIFEST, SEAL})):
            if name in contents:
                info = zipfile.ZipInfo(name, _EPOCH)
                info.external_attr, info.create_system = _MODE, 3
                archive.writestr(info, contents[name])
    return buffer.getvalue()


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise StateError(f"{path}: expected a folder this user may write to, got: {error.strerror}.") from None
