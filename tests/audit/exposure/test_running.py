"""The workloads of a namespace, as rules judge them."""

import pytest

from tests.audit.rules.scenes import container
from tests.audit.scenes import cron_job, files, findings, job, live, pod
from tests.builders import Manifest
from troth.audit.exposure.running import running, with_labels
from troth.audit.finding import Object
from troth.resources.references import Ref

NIGHT = Object("CronJob", Ref("shop", "night"))
SPEC: Manifest = {
    "serviceAccountName": "default",
    "containers": [container()],
}


def run(number: int) -> list[Manifest]:
    """Return a Job of the CronJob, and its pod."""
    name = f"night-{number}"
    labels = {"app": "night", "job-name": name}
    return [job(name, "night", **SPEC), pod(name, kind="Job", labels=labels, **SPEC)]


def test_jobs_of_a_cron_job_are_the_cron_job() -> None:
    for scene in (
        live(cron_job("night", **SPEC), *run(1), *run(2)),
        live(*run(1), *run(2)),
        files(cron_job("night", **SPEC), run(1)[0], run(2)[0]),
    ):
        assert [each.object for each in running(scene, "shop")] == [NIGHT]
        assert [each.object for each in with_labels(scene, "shop", {"app": "night"})] == [NIGHT]


@pytest.mark.parametrize("with_template", [True, False], ids=["listed", "not-listed"])
def test_each_run_of_a_cron_job_has_the_same_findings(*, with_template: bool) -> None:
    above = [cron_job("night", **SPEC)] if with_template else []
    before, after = (
        [each.id for each in findings("TR701", live(*above, *runs))]
        for runs in (run(1), [*run(1), *run(2)])
    )
    assert before == after
    assert len(after) == 1
