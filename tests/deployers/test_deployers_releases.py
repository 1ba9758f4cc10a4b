"""A release is the same code for ever, wherever it comes from."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from tests.deployers.conftest import settings

from golive.errors import ConfigError, RefusedError, UnavailableError, UsageError
from golive.rollout.deployers import releases_tree
from golive.rollout.deployers.releases_git import GitReleases
from golive.rollout.deployers.releases_path import PathReleases
from golive.rollout.deployers.releases_tree import TreeReleases
from golive.rollout.ports import UnknownVersionError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with what every working tree has lying around."""
    root = tmp_path / "project"
    for name in ("app.py", "pkg/mod.py", ".git/HEAD", ".venv/bin/python", "pkg/__pycache__/mod.pyc", "data/big.bin"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "current.py").symlink_to("app.py")
    return root


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def _git(repository: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(repository), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(project: Path) -> Path:
    """The project with two tags."""
    subprocess.run(["rm", "-rf", str(project / ".git")], check=True)
    _git(project, "init", "-q")
    (project / ".gitignore").write_text(".venv\n__pycache__\ndata\n")
    for version in ("v1.0.0", "v1.1.0"):
        (project / "app.py").write_text(version)
        _git(project, "add", ".")
        _git(project, "commit", "-q", "-m", version)
        _git(project, "tag", version)
    return project


class TestTree:
    """Snapshots of the working tree."""

    def test_a_snapshot_has_the_project_and_not_its_clutter(self, project: Path, tmp_path: Path):
        """Histories, environments, caches and what the user excludes stay out; modes and links are kept."""
        folder = TreeReleases(project, tmp_path / "store", exclude=["data/*.bin"]).prepare("v1")
        assert _files(folder) == {"app.py", "pkg/mod.py", "run.sh", "current.py"}
        assert os.access(folder / "run.sh", os.X_OK)
        assert (folder / "current.py").readlink() == Path("app.py")

    def test_a_snapshot_does_not_change_with_the_project(self, project: Path, tmp_path: Path):
        """Editing goes on while the version runs."""
        folder = TreeReleases(project, tmp_path / "store").prepare("v1")
        (project / "app.py").write_text("changed")
        assert (folder / "app.py").read_text() == "app.py\n"

    def test_the_same_name_with_the_same_content_is_found_again(self, project: Path, tmp_path: Path):
        """Even by another object, and with clutter that changed."""
        first = TreeReleases(project, tmp_path / "store").prepare("v1")
        (project / ".venv/bin/python").write_text("other")
        assert TreeReleases(project, tmp_path / "store").prepare("v1") == first

    @pytest.mark.parametrize("change", ["edit", "add", "remove", "mode", "link"])
    def test_the_same_name_with_other_content_is_refused(self, project: Path, tmp_path: Path, change: str):
        """Whatever the change is, the running code is not replaced under its name; it can still be started."""
        releases = TreeReleases(project, tmp_path / "store")
        folder = releases.prepare("v1")
        match change:
            case "edit":
                (project / "app.py").write_text("changed")
            case "add":
                (project / "new.py").write_text("")
            case "remove":
                (project / "pkg/mod.py").unlink()
            case "mode":
                (project / "app.py").chmod(0o755)
            case "link":
                (project / "current.py").unlink()
                (project / "current.py").symlink_to("run.sh")
        with pytest.raises(RefusedError, match="new name"):
            releases.prepare("v1")
        assert releases.folder("v1") == folder
        assert (releases.prepare("v2") / "app.py").exists()

    def test_a_store_inside_the_project_is_not_copied_into_itself(self, project: Path):
        """The usual place is .golive/releases; any other is left out as well."""
        releases = TreeReleases(project, project / "builds")
        releases.prepare("v1")
        assert "builds/v1/app.py" not in _files(releases.prepare("v2"))

    def test_what_was_interrupted_does_not_count(self, project: Path, tmp_path: Path):
        """A folder without its manifest was never finished: it is unknown, and made again."""
        releases = TreeReleases(project, tmp_path / "store")
        folder = releases.prepare("v1")
        (folder / "app.py").unlink()
        (tmp_path / "store/v1.release.json").unlink()
        with pytest.raises(UnknownVersionError):
            releases.folder("v1")
        assert (releases.prepare("v1") / "app.py").exists()

    def test_a_project_that_is_too_large_is_refused_and_leaves_nothing(
        self, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """The error names the file at which it became too much."""
        monkeypatch.setattr(releases_tree, "BYTES_MAX", 16)
        with pytest.raises(RefusedError, match=r"\[release\] exclude"):
            TreeReleases(project, tmp_path / "store").prepare("v1")
        assert _files(tmp_path / "store") == set()

    def test_sockets_and_pipes_are_not_code(self, project: Path, tmp_path: Path):
        """They belong to a running service; copying a pipe would wait for ever."""
        os.mkfifo(project / "pipe")
        with socket.socket(socket.AF_UNIX) as server:
            previous = Path.cwd()
            os.chdir(project)  # a socket's path is limited to about a hundred characters
            try:
                server.bind("s")
            finally:
                os.chdir(previous)
            assert not {"pipe", "s"} & _files(TreeReleases(project, tmp_path / "store").prepare("v1"))

    def test_the_store_is_for_its_owner_only(self, project: Path, tmp_path: Path):
        """A release may hold the project's secrets."""
        TreeReleases(project, tmp_path / "store").prepare("v1")
        assert (tmp_path / "store").stat().st_mode & 0o077 == 0


class TestGit:
    """Commits of a repository."""

    def test_a_tag_is_unpacked_without_touching_the_working_tree(self, repository: Path, tmp_path: Path):
        """Also an old one, while the working tree has changes."""
        (repository / "app.py").write_text("in the middle of something")
        folder = GitReleases(repository, tmp_path / "store").prepare("v1.0.0")
        assert (folder / "app.py").read_text() == "v1.0.0"
        assert "data/big.bin" not in _files(folder)
        assert (repository / "app.py").read_text() == "in the middle of something"

    def test_a_branch_and_a_commit_are_versions_too(self, repository: Path, tmp_path: Path):
        """By name, by full and by short id."""
        releases = GitReleases(repository, tmp_path / "store")
        commit = _git(repository, "rev-parse", "HEAD")
        for name in ("main", commit, commit[:10]):
            assert (releases.prepare(name) / "app.py").read_text() == "v1.1.0"

    def test_an_unknown_name_is_refused_naming_the_nearest(self, repository: Path, tmp_path: Path):
        """With a suggestion when there is one, a list otherwise."""
        releases = GitReleases(repository, tmp_path / "store")
        with pytest.raises(UnknownVersionError, match=r'"v1\.2\.0", did you mean "v1\.[01]\.0"'):
            releases.prepare("v1.2.0")
        with pytest.raises(UnknownVersionError, match=r"there are .*v1\.0\.0"):
            releases.prepare("zebra")

    def test_a_branch_that_moved_is_refused(self, repository: Path, tmp_path: Path):
        """The name would mean something else than what was judged."""
        releases = GitReleases(repository, tmp_path / "store")
        releases.prepare("main")
        (repository / "app.py").write_text("more")
        _git(repository, "commit", "-q", "-am", "more")
        with pytest.raises(RefusedError, match="new tag"):
            releases.prepare("main")
        assert (releases.folder("main") / "app.py").read_text() == "v1.1.0"

    def test_a_folder_without_git_says_what_to_do(self, tmp_path: Path):
        """The error names the folder."""
        (tmp_path / "plain").mkdir()
        with pytest.raises(UnavailableError, match="git init"):
            GitReleases(tmp_path / "plain", tmp_path / "store").prepare("v1")

    def test_a_name_is_never_an_option_or_an_expression(self, repository: Path, tmp_path: Path):
        """What git would read as something else than a name does not get there."""
        for name in ("--help", "HEAD~1", "v1.0.0^", "main:app.py", "@"):
            with pytest.raises(UsageError, match="version"):
                GitReleases(repository, tmp_path / "store").prepare(name)


class TestPath:
    """Folders somebody else made."""

    def test_a_folder_is_a_release(self, tmp_path: Path):
        """Just as it is."""
        (tmp_path / "v1").mkdir()
        assert PathReleases(tmp_path).prepare("v1") == tmp_path / "v1"

    def test_a_missing_folder_is_refused_naming_the_nearest(self, tmp_path: Path):
        """A file of that name is not a release."""
        (tmp_path / "v1.0").mkdir()
        (tmp_path / "v1.1").write_text("")
        with pytest.raises(UnknownVersionError, match=r'did you mean "v1\.0"'):
            PathReleases(tmp_path).prepare("v1.1")

    def test_no_root_is_no_release(self, tmp_path: Path):
        """And an error that says where it was looked for."""
        with pytest.raises(UnknownVersionError, match="releases"):
            PathReleases(tmp_path / "releases").prepare("v1")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"command": ()}, "list of words"),
        ({"command": "uvicorn app:app"}, "list of words"),
        ({"command": ("run", "{prot}")}, 'did you mean "port"'),
        ({"ready_path": "ready"}, "deploy/ready_path"),
        ({"stop_timeout": -settings(PathReleases(Path())).stop_timeout}, "deploy/stop_timeout"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], words: str):
    """Before anything is started."""
    with pytest.raises(ConfigError, match=words):
        settings(PathReleases(Path()), **changes)


def test_braces_that_are_no_placeholder_stay_as_they_are():
    """JSON in an argument is not a template."""
    made = settings(PathReleases(Path()), command=("{python}", '{"a": {port}}', "{version}", "{release}", "{host}"))
    words = made.arguments(port="1234", version="v1", release="/r")
    assert words[1:] == ['{"a": 1234}', "v1", "/r", "127.0.0.1"]
