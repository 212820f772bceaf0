"""The operator's image is built when its sources change, on a machine that supports it."""

import shutil
from pathlib import Path

import pytest

from sandbox import SandboxError, image
from sandbox.image import archive, builder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout of the files that are inputs of the image."""
    root = tmp_path / "checkout"
    for name in archive.INPUTS:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name) if name != "operator" else path.mkdir()
    (root / "operator" / "main.py").write_text("")
    return root


@pytest.mark.parametrize("name", ["Dockerfile", "constraints.txt", "operator/main.py"])
def test_changed_source_makes_another_image(checkout: Path, name: str) -> None:
    before = archive.key_of(checkout)
    (checkout / name).write_text("changed")
    assert archive.key_of(checkout) != before


def test_new_source_makes_another_image(checkout: Path) -> None:
    before = archive.key_of(checkout)
    (checkout / "operator" / "new.py").write_text("")
    assert archive.key_of(checkout) != before


def test_image_contains_no_compiled_files_or_tests(checkout: Path) -> None:
    before = archive.key_of(checkout)
    for name in (
        "operator/__pycache__/main.pyc",
        "operator/troth.egg-info/PKG-INFO",
        "tests/it.py",
    ):
        path = checkout / name
        path.parent.mkdir()
        path.write_text("")
    assert archive.key_of(checkout) == before


def test_only_the_newest_archives_stay_in_the_cache(tmp_path: Path) -> None:
    archives = [tmp_path / f"operator-{number}" / "image.tar" for number in range(5)]
    for each in archives:
        each.parent.mkdir()
        each.touch()
        archive.prune(each)
    kept = sorted(tmp_path.glob("operator-*/image.tar"))
    assert kept == archives[-archive.KEPT :]


def test_dockerfile_copies_only_inputs_of_the_build() -> None:
    copied = {
        name
        for line in (archive.REPOSITORY / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY") and "--from" not in line
        for name in line.split()[1:-1]
    }
    assert copied <= set(archive.INPUTS)


@pytest.mark.parametrize(
    ("euid", "distribution", "programs", "reason"),
    [
        (1000, "debian", {"apt-get"}, "run it as root"),
        (0, "fedora", {"apt-get"}, "made of Debian's packages, and this is fedora"),
        (0, "debian", {"buildah"}, "there is no mmdebstrap, and no apt-get to fetch it with"),
    ],
    ids=["no root", "no Debian", "no apt"],
)
def test_error_names_why_a_machine_cannot_build_images(
    euid: int,
    distribution: str,
    programs: set[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: euid)
    monkeypatch.setattr("platform.freedesktop_os_release", lambda: {"ID": distribution})
    monkeypatch.setattr(shutil, "which", lambda name, **_: name if name in programs else None)
    monkeypatch.setattr("sys.platform", "linux")
    assert reason in str(image.unavailable())
    with pytest.raises(SandboxError, match=reason):
        image.ensure()


def test_build_leaves_nothing_outside_its_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, used = tmp_path / "new" / "cache" / "db", tmp_path / "used" / "cache" / "db"
    used.parent.mkdir(parents=True)
    monkeypatch.setattr(builder, "TRACES", (new, used))
    with builder.without_traces():
        new.parent.mkdir(parents=True)
        new.touch()
        used.touch()  # in a directory of another buildah
    assert not (tmp_path / "new").exists()
    assert used.exists()


def test_traces_are_removed_and_foreign_files_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, theirs = tmp_path / "new" / "cache" / "db", tmp_path / "new" / "storage"
    monkeypatch.setattr(builder, "TRACES", (trace,))
    with builder.without_traces():
        trace.parent.mkdir(parents=True)
        theirs.mkdir()
    assert theirs.exists()
    assert not trace.parent.exists()
