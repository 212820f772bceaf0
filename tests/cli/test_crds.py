"""`troth crds` prints definitions for `kubectl apply` and finds drift."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from troth.cli.main import app
from troth.resources.kinds import EVERY_KIND


def test_printed_definitions_are_a_stream_of_manifests() -> None:
    result = CliRunner().invoke(app, ["crds"])
    kinds = [manifest["spec"]["names"]["kind"] for manifest in yaml.safe_load_all(result.output)]
    assert kinds == [kind.name for kind in EVERY_KIND]


def test_folder_that_differs_is_drift(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["crds", "--write", str(tmp_path)]).exit_code == 0
    assert runner.invoke(app, ["crds", "--check", str(tmp_path)]).exit_code == 0
    (tmp_path / "stray.yaml").write_text("")
    result = runner.invoke(app, ["crds", "--check", str(tmp_path)])
    assert result.exit_code == 1
    assert "run make crds" in result.output
