"""What goes into a snapshot of the working tree."""

from __future__ import annotations

from pathlib import Path

from golive.rollout.deployers.releases_tree import TreeReleases


def test_a_snapshot_holds_what_is_included_and_not_excluded(tmp_path: Path) -> None:
    """Only files below the included folders, without the excluded names."""
    project = tmp_path / "project"
    for name in ("blocks/app.py", "blocks/data/venues.csv", "tests/test_app.py", "golive.toml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    releases = TreeReleases(project, tmp_path / "store", exclude=["*.csv"], include=["blocks/**", "golive.toml"])
    folder = releases.prepare("v1")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        "blocks/app.py",
        "golive.toml",
    ]
