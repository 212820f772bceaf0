"""What the prover's ServiceAccount may do on a real API server."""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from sandbox import CommandError, Sandbox
from tests.chart.rendering import CHART, NAMESPACE
from tests.cluster.conftest import await_crds, separate_sandbox
from tests.patience import PATIENCE
from tests.sandbox.nodes import apply, namespace
from troth.audit.proving.job import job
from troth.audit.proving.probe import Caller, Probe, ProbeName, Target
from troth.audit.proving.round import Pod, Task
from troth.documents.probes import IDENTITIES, LABEL, MOST, Instruction, Instructions
from troth.resources.references import Ref
from troth.resources.reported import Expectation, Layer

PROVER = f"system:serviceaccount:{NAMESPACE}:troth-prover"
IMAGE = "registry.example/troth:v1"
Manifest = dict[str, Any]
Change = Callable[[Manifest], object]


@pytest.fixture(scope="module")
def installed() -> Iterator[Sandbox]:
    """Yield a control plane with the chart, the prover included, and a restricted namespace."""
    for sandbox in separate_sandbox():
        image = "image.repository=registry.example/troth,image.tag=v1"
        values = ("--set", f"prove.enabled=true,{image}")
        sandbox.helm("install", "troth", str(CHART), "-n", NAMESPACE, "--create-namespace", *values)
        await_crds(sandbox)
        enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
        apply(sandbox, namespace("shop", **enforce))
        _await_policy(sandbox)
        yield sandbox


def _await_policy(sandbox: Sandbox) -> None:
    """Wait until the policy is in force: the API server compiles it some time after it is made."""
    other = probing()
    other["metadata"]["labels"] = {"app": "checkout"}
    deadline = time.monotonic() + PATIENCE
    while not rejected(sandbox, other):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def probing(tasks: int = 1) -> Manifest:
    """Return the Job of probes as `troth prove` makes it."""
    ask = Instruction("10.0.0.7", 8443, roots="checkout", certificate="checkout")
    target = Target(Ref("shop", "payments"), "https")
    probe = Probe(
        ProbeName.DECLARED_EDGE,
        target,
        Ref("shop", "checkout"),
        Expectation.PASSES,
        Layer.APPLICATION,
        ask,
    )
    pod = Pod(probe.caller, (Task(probe, ask),) * tasks)
    caller = Caller("shop", "checkout", {"app": "checkout"}, "trust-bundle")
    made: Manifest = job("a-probe", "run", pod, caller, Instructions("n", (ask,)), IMAGE)
    return made


def rejected(sandbox: Sandbox, manifest: Manifest, who: str = PROVER) -> str:
    """Return why the API server rejects a Job of the prover, empty if it does not."""
    arguments = ("create", "-f", "-", "--dry-run=server", f"--as={who}")
    try:
        sandbox.kubectl(*arguments, stdin=yaml.safe_dump(manifest))
    except CommandError as error:
        return error.stderr
    return ""


@pytest.mark.long
def test_prover_may_create_the_jobs_of_probes(installed: Sandbox) -> None:
    assert rejected(installed, probing()) == ""
    assert rejected(installed, probing(tasks=MOST)) == ""


def test_pods_of_probes_meet_the_restricted_level(installed: Sandbox) -> None:
    template = probing()["spec"]["template"]
    metadata = {"namespace": "shop", "name": "a-probe", "labels": template["metadata"]["labels"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    pod["spec"] = {**pod["spec"], "serviceAccountName": "default"}
    installed.kubectl("create", "-f", "-", "--dry-run=server", stdin=yaml.safe_dump(pod))


def _container(manifest: Manifest) -> Manifest:
    found: Manifest
    (found,) = _pod(manifest)["containers"]
    return found


def _pod(manifest: Manifest) -> Manifest:
    found: Manifest = manifest["spec"]["template"]["spec"]
    return found


def _context(manifest: Manifest) -> Manifest:
    found: Manifest = _container(manifest)["securityContext"]
    return found


RUNS = {"exec": {"command": ["sh"]}}
CHANGES: dict[str, Change] = {
    "without the label": lambda job: job["metadata"].update(labels={"app": "checkout"}),
    "another image": lambda job: _container(job).update(image="evil.example/shell"),
    "another command": lambda job: _container(job).update(command=["sh", "-c", "cat /secret/*"]),
    "more arguments": lambda job: _container(job).update(args=["--help"]),
    "a second container": lambda job: _pod(job)["containers"].append(
        _container(job) | {"name": "second", "image": "evil.example/shell"}
    ),
    "a first container": lambda job: _pod(job).update(
        initContainers=[_container(job) | {"name": "first"}]
    ),
    "another Secret": lambda job: _pod(job)["volumes"].append(
        {"name": "other", "secret": {"secretName": "database-password"}}
    ),
    "a Secret in a projection": lambda job: _pod(job)["volumes"].append(
        {"name": "other", "projected": {"sources": [{"secret": {"name": "a"}}]}}
    ),
    "the node's files": lambda job: _pod(job)["volumes"].append(
        {"name": "other", "hostPath": {"path": "/"}}
    ),
    "a Secret in the environment": lambda job: _container(job).update(
        envFrom=[{"secretRef": {"name": "database-password"}}]
    ),
    "a key of a Secret in the environment": lambda job: _container(job)["env"].append(
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}
    ),
    "a token of the ServiceAccount": lambda job: _pod(job).update(
        automountServiceAccountToken=True
    ),
    "the default of tokens": lambda job: _pod(job).pop("automountServiceAccountToken"),
    "no command": lambda job: _container(job).pop("command"),
    "a command after the start": lambda job: _container(job).update(
        lifecycle={"postStart": {"exec": {"command": ["sh"]}}}
    ),
    "a command for liveness": lambda job: _container(job).update(livenessProbe=RUNS),
    "a command for readiness": lambda job: _container(job).update(readinessProbe=RUNS),
    "a command for the start": lambda job: _container(job).update(startupProbe=RUNS),
    "code from a variable": lambda job: _container(job)["env"].append(
        {"name": "PYTHONPATH", "value": "/bundle"}
    ),
    "code over the image's": lambda job: _container(job)["volumeMounts"].append(
        {"name": "bundle", "mountPath": "/usr/local/lib"}
    ),
    "code over the image's from below": lambda job: _container(job)["volumeMounts"].append(
        {"name": "bundle", "mountPath": f"{IDENTITIES}/.."}
    ),
    "another working directory": lambda job: _container(job).update(workingDir="/bundle"),
    "the node's network": lambda job: _pod(job).update(hostNetwork=True),
    "the node's processes": lambda job: _pod(job).update(hostPID=True),
    "the node's interprocess communication": lambda job: _pod(job).update(hostIPC=True),
    "a user namespace": lambda job: _pod(job).update(hostUsers=False),
    "processes of all containers": lambda job: _pod(job).update(shareProcessNamespace=True),
    "annotations for injectors": lambda job: job["spec"]["template"]["metadata"].update(
        annotations={"inject.example/template": "shell"}
    ),
    "no context of the pod": lambda job: _pod(job).pop("securityContext"),
    "root": lambda job: _pod(job)["securityContext"].update(runAsUser=0),
    "root allowed": lambda job: _pod(job)["securityContext"].update(runAsNonRoot=False),
    "no seccomp profile": lambda job: _pod(job)["securityContext"].pop("seccompProfile"),
    "no context of the container": lambda job: _container(job).pop("securityContext"),
    "root in the container": lambda job: _context(job).update(runAsUser=0),
    "root allowed in the container": lambda job: _context(job).update(runAsNonRoot=False),
    "no seccomp in the container": lambda job: _context(job).update(
        seccompProfile={"type": "Unconfined"}
    ),
    "escalation": lambda job: _context(job).update(allowPrivilegeEscalation=True),
    "the default of escalation": lambda job: _context(job).pop("allowPrivilegeEscalation"),
    "a writable root": lambda job: _context(job).pop("readOnlyRootFilesystem"),
    "added capabilities": lambda job: _context(job)["capabilities"].update(add=["NET_ADMIN"]),
    "kept capabilities": lambda job: _context(job).pop("capabilities"),
    "many pods at once": lambda job: job["spec"].update(parallelism=50, completions=50),
    "many pods in all": lambda job: job["spec"].update(completions=50),
    "more attempts": lambda job: job["spec"].update(backoffLimit=50),
    "no deadline": lambda job: job["spec"].pop("activeDeadlineSeconds"),
    "a late deadline": lambda job: job["spec"].update(activeDeadlineSeconds=601),
    "no end": lambda job: job["spec"].pop("ttlSecondsAfterFinished"),
    "pods of others": lambda job: job["spec"].update(
        manualSelector=True, selector={"matchLabels": {LABEL: "true"}}
    ),
    "pods by index": lambda job: job["spec"].update(completions=1, completionMode="Indexed"),
    "another controller": lambda job: job["spec"].update(managedBy="evil.example/controller"),
    "restarts": lambda job: _pod(job).update(restartPolicy="OnFailure"),
    "a late end": lambda job: _pod(job).update(terminationGracePeriodSeconds=3600),
    "a priority": lambda job: _pod(job).update(priorityClassName="system-node-critical"),
    "a node": lambda job: _pod(job).update(nodeName="control-plane"),
    "nodes by label": lambda job: _pod(job).update(nodeSelector={"role": "control-plane"}),
    "nodes by affinity": lambda job: _pod(job).update(affinity={"nodeAffinity": {}}),
    "tainted nodes": lambda job: _pod(job).update(tolerations=[{"operator": "Exists"}]),
    "another scheduler": lambda job: _pod(job).update(schedulerName="evil"),
    "another runtime": lambda job: _pod(job).update(runtimeClassName="evil"),
    "other names of hosts": lambda job: _pod(job).update(
        hostAliases=[{"ip": "10.0.0.9", "hostnames": ["issuer.example"]}]
    ),
    "another resolver": lambda job: _pod(job).update(
        dnsPolicy="None", dnsConfig={"nameservers": ["10.0.0.9"]}
    ),
    "the node's resolver": lambda job: _pod(job).update(dnsPolicy="Default"),
    "another Secret for pulling": lambda job: _pod(job).update(imagePullSecrets=[{"name": "a"}]),
    "more memory": lambda job: _container(job)["resources"]["limits"].update(memory="64Gi"),
    "more reserved": lambda job: _container(job)["resources"]["requests"].update(cpu="64m"),
    "other resources": lambda job: _container(job)["resources"]["limits"].update(
        {"example.com/gpu": "1"}
    ),
    "no resources": lambda job: _container(job).pop("resources"),
    "a port": lambda job: _container(job).update(ports=[{"containerPort": 8080}]),
    "the group of root": lambda job: _pod(job)["securityContext"].update(runAsGroup=0),
    "a group of files": lambda job: _pod(job)["securityContext"].update(fsGroup=0),
    "more groups": lambda job: _pod(job)["securityContext"].update(supplementalGroups=[0]),
    "SELinux options": lambda job: _pod(job)["securityContext"].update(
        seLinuxOptions={"type": "spc_t"}
    ),
    "no AppArmor": lambda job: _pod(job)["securityContext"].update(
        appArmorProfile={"type": "Unconfined"}
    ),
    "the group of root in the container": lambda job: _context(job).update(runAsGroup=0),
    "SELinux options in the container": lambda job: _context(job).update(
        seLinuxOptions={"type": "spc_t"}
    ),
    "no AppArmor in the container": lambda job: _context(job).update(
        appArmorProfile={"type": "Unconfined"}
    ),
}


@pytest.fixture(scope="module")
def created(installed: Sandbox) -> Iterator[Sandbox]:
    """Yield a control plane with a Job of another release's image and one of somebody else."""
    old, other = probing(), probing()
    old["metadata"]["name"] = "an-old-probe"
    _container(old)["image"] = "registry.example/troth:v0"
    other["metadata"] = {"name": "backup", "namespace": "shop", "labels": {"app": "backup"}}
    for each in (old, other):
        installed.kubectl("create", "-f", "-", stdin=yaml.safe_dump(each))
    yield installed
    installed.kubectl("delete", "job", "--all", "-n", "shop")


def _delete(sandbox: Sandbox, name: str) -> None:
    sandbox.kubectl(
        "delete", "job", name, "-n", "shop", "--dry-run=server", "--wait=false", f"--as={PROVER}"
    )


def test_prover_may_delete_the_job_of_a_probe_of_another_release(created: Sandbox) -> None:
    _delete(created, "an-old-probe")


def test_prover_may_not_delete_the_job_of_somebody_else(created: Sandbox) -> None:
    with pytest.raises(CommandError, match="the prover"):
        _delete(created, "backup")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_prover_may_create_no_other_job(installed: Sandbox, change: Change) -> None:
    changed = copy.deepcopy(probing())
    change(changed)
    assert "the prover" in rejected(installed, changed)


def test_others_are_not_limited(installed: Sandbox) -> None:
    changed = copy.deepcopy(probing())
    CHANGES["another image"](changed)
    create = ("create", "-f", "-", "--dry-run=server")
    installed.kubectl(*create, stdin=yaml.safe_dump(changed))


def test_prover_may_read_no_secret_and_change_no_identity(installed: Sandbox) -> None:
    listed = installed.kubectl("auth", "can-i", "--list", f"--as={PROVER}", "-n", "shop")
    rights = {line.split()[0]: line.rpartition("[")[2].rstrip("]") for line in listed.splitlines()}
    ours = {name: verbs for name, verbs in rights.items() if not name.startswith("selfsubject")}
    assert not {"secrets", "configmaps", "networkpolicies.networking.k8s.io"} & ours.keys()
    assert ours["serviceidentities.troth.dev"] == "list"
    assert ours["serviceidentities.troth.dev/status"] == "patch"
    assert ours["jobs.batch"] == "create get delete"
    assert ours["pods"] == "list"
    assert ours["pods/log"] == "get"
