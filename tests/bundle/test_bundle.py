"""Evidence bundles: one format for gates and rollouts, checked offline, every byte of it."""

from __future__ import annotations

import random
import subprocess
import zipfile
from pathlib import Path

import pytest

from golive import bundle
from golive.bundle import MANIFEST, open_bundle, verify_bundle, write_bundle
from golive.errors import StateError, UsageError

FILES: dict[str, bytes | str] = {
    "gates/health.json": '{"verdict": "PASS"}\n',
    "load.bin": bytes(range(256)),
    "a.txt": "",
}
META = {"kind": "test", "who": "ada"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A whole bundle."""
    where = tmp_path / "evidence.zip"
    write_bundle(where, FILES, META)
    return where


def test_a_bundle_gives_back_what_was_put_in(path: Path) -> None:
    """Files, meta and digest; nothing to find."""
    opened = open_bundle(path)
    assert opened.meta == META
    assert opened.names == sorted(FILES)
    assert opened.read("gates/health.json") == b'{"verdict": "PASS"}\n'
    assert verify_bundle(path) == []


def test_the_same_files_are_the_same_bytes_in_any_order(path: Path, tmp_path: Path) -> None:
    """No clock, no order of insertion, no compression goes into a bundle, so that two can be compared."""
    again = tmp_path / "again.zip"
    digest = write_bundle(again, dict(reversed(FILES.items())), META)
    assert again.read_bytes() == path.read_bytes()
    assert digest == open_bundle(path).digest


def test_any_flipped_byte_is_found(path: Path) -> None:
    """Content, manifest, seal, zip headers: one wrong bit anywhere is a finding, never a crash, never silence."""
    whole = path.read_bytes()
    dice = random.Random(7)
    for place in range(len(whole)):
        altered = bytearray(whole)
        altered[place] ^= 1 << dice.randrange(8)
        path.write_bytes(altered)
        assert verify_bundle(path), f"byte {place} of {len(whole)}"


@pytest.mark.parametrize("length", [0, 1, 30, 200, -1])
def test_a_torn_bundle_is_found(path: Path, length: int) -> None:
    """A file that was cut off is no bundle, or one with findings."""
    path.write_bytes(path.read_bytes()[:length])
    assert verify_bundle(path)


def test_the_finding_names_the_file(path: Path) -> None:
    """Whoever reads the finding knows what not to believe."""
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"PASS"', b'"FAIL"'))
    assert any(line.startswith("gates/health.json: ") for line in verify_bundle(path))


def test_an_unpacked_bundle_is_as_good(path: Path, tmp_path: Path) -> None:
    """People unpack it to look inside; the folder can be checked as well, even with sha256sum alone."""
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    assert verify_bundle(folder) == []
    assert subprocess.run(["sha256sum", "-c", "MANIFEST.sha256"], cwd=folder, capture_output=True).returncode == 0
    (folder / "load.bin").write_bytes(b"x")
    (folder / "extra.txt").write_text("who put this here?")
    (folder / "a.txt").unlink()
    assert verify_bundle(folder) == [
        "extra.txt: the manifest does not know it",
        "a.txt: missing",
        "load.bin: its content does not match its hash",
    ]


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "a/../../b", "c:\\x", "a\\b", "", "a//b", ".", "a/.hid", "x\0y"]
)
def test_a_name_that_could_leave_its_folder_is_refused_both_ways(name: str, path: Path, tmp_path: Path) -> None:
    """Neither written nor read: who unpacks a bundle with another tool is safe too."""
    with pytest.raises(UsageError, match="plain relative names"):
        write_bundle(tmp_path / "x.zip", {name: b""}, {})
    if "\0" in name:
        return
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"")
    assert verify_bundle(path)


def test_a_symbolic_link_in_a_folder_is_refused(path: Path, tmp_path: Path) -> None:
    """A link could show somebody else's file as evidence."""
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    (folder / "a.txt").unlink()
    (folder / "a.txt").symlink_to("/dev/null")
    assert "no plain file" in verify_bundle(folder)[0]


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """Compressed members are refused by their header, before a byte of them is read."""
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, b"0" * 10_000_000)
    assert "compressed" in verify_bundle(bomb)[0]


def test_too_much_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reaching the bound is an error that names it, and leaves no half of a bundle behind."""
    monkeypatch.setattr(bundle, "BYTES_MAX", 10)
    with pytest.raises(UsageError, match="at most 10 bytes, got 11"):
        write_bundle(tmp_path / "x.zip", {"a": b"x" * 11}, {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_says_so(tmp_path: Path) -> None:
    """A missing file, a text, somebody else's zip, a manifest of the future."""
    (tmp_path / "text").write_text("hello")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with zipfile.ZipFile(tmp_path / "later.zip", "w") as archive:
        archive.writestr(MANIFEST, '{"schema": "golive/bundle/v9", "meta": {}, "files": {}}')
    for name in ("missing", "text", "other.zip", "later.zip"):
        with pytest.raises(StateError, match="expected"):
            open_bundle(tmp_path / name)
