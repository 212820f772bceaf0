"""The wheel, built and installed into an empty environment.

pip fetches what the wheel requires from the index that it uses for `make .venv` too.
"""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.packaging.distributions import ROOT, project

SOURCES = ("pyproject.toml", "LICENSE", "operator")
MOST_MEGABYTES = 30


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel, built as `make check` builds it, from a copy of the sources."""
    root = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            generated = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, root / name, ignore=generated)
        else:
            shutil.copyfile(ROOT / name, root / name)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", root / "dist", root)
    (found,) = (root / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the base installation alone, without pip."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, with_pip=False)
    _run(
        *(sys.executable, "-m", "pip", "--python", root / "bin" / "python", "install"),
        *("--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--constraint", ROOT / "constraints.txt", wheel),
    )
    return root


def test_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    modules = {
        str(path.relative_to(ROOT / "operator")) for path in (ROOT / "operator").rglob("*.py")
    }
    metadata = f"troth-{project()['version']}.dist-info/"
    others = {"troth/py.typed", "troth/review/admission.yaml"}
    assert {name for name in names if not name.startswith(metadata)} == modules | others
    assert f"{metadata}licenses/LICENSE" in names


def test_service_imports_the_edge_from_the_base_installation(installed: Path) -> None:
    code = "import troth.edge.inbound.asgi, troth.edge.inbound.wsgi, troth.edge.identity.files"
    _run(installed / "bin" / "python", "-c", code)


def test_base_installation_is_small(installed: Path) -> None:
    # Bytecode is not part of a distribution: some installers write it, others do not.
    files = [path for path in installed.rglob("site-packages/**/*") if path.is_file()]
    megabytes = (
        sum(path.stat().st_size for path in files if path.parent.name != "__pycache__") / 1e6
    )
    assert megabytes <= MOST_MEGABYTES


def test_command_of_the_base_installation_names_its_extra(installed: Path) -> None:
    command: list[str | Path] = [installed / "bin" / "troth", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("run: pip install 'troth[cli]'\n")


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
