"""What a fix drafts outlives the next release."""

from tests.audit.objects import deployment
from tests.audit.scenes import files
from troth.audit.skeletons import selector_of


def test_selector_has_no_label_that_a_release_changes() -> None:
    labels = {"tier": "web", "version": "v1.2.3", "chart": "web-1.2.3", "heritage": "Helm"}
    scene = files(deployment("web", labels=labels))
    assert selector_of(scene, scene.workloads_in("shop")) == {"tier": "web"}
