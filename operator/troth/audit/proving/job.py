"""The Job whose pod makes probes as an identity."""

from typing import Any

from troth.audit.proving.probe import Caller
from troth.audit.proving.round import Pod
from troth.documents.probes import BUNDLE, IDENTITIES, LABEL, VARIABLE, Instructions
from troth.planning.owned_objects import secret_ref
from troth.resources.references import Ref

RUN = "troth.dev/probe-run"
"""Label of a Job with the name of its round."""
NEVER = "troth.dev/never-ready"
"""Readiness gate of a probe pod. Nobody sets it, so no Service sends the pod a request."""
USER = 65532

_START = 120
_KEPT = 300
_SECONDS_OF_A_TASK = 4


def job(name: str, run: str, pod: Pod, caller: Caller, asked: Instructions, image: str) -> Any:  # noqa: ANN401, PLR0917 - a manifest
    """Return the Job of a pod.

    A Job owns its pod, so no ReplicaSet whose selector matches it adopts it.
    """
    seconds = _START + asked.patience + len(pod.tasks) * asked.timeout * _SECONDS_OF_A_TASK
    labels = {LABEL: "true", RUN: run}
    mounts = [
        *(_mount(f"identity-{index}", f"{IDENTITIES}/{name}") for index, name in _numbered(pod)),
        *([_mount("bundle", BUNDLE)] if caller.bundle and pod.identities else []),
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": caller.namespace, "name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": seconds,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {
                "metadata": {"labels": {**caller.labels, **labels}},
                "spec": {
                    "serviceAccountName": caller.account,
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 1,
                    "readinessGates": [{"conditionType": NEVER}],
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": USER,
                        "runAsGroup": USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "probe",
                            "image": image,
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["troth", "probe"],
                            "env": [
                                {"name": VARIABLE, "value": asked.text},
                                {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
                            ],
                            "resources": {
                                "requests": {"cpu": "50m", "memory": "64Mi"},
                                "limits": {"memory": "256Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                            "volumeMounts": mounts,
                        }
                    ],
                    "volumes": _volumes(pod, caller),
                },
            },
        },
    }


def _numbered(pod: Pod) -> list[tuple[int, str]]:
    return list(enumerate(pod.identities))


def _mount(volume: str, path: str) -> dict[str, Any]:
    return {"name": volume, "mountPath": path, "readOnly": True}


def _volumes(pod: Pod, caller: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": f"identity-{index}",
            "secret": {"secretName": secret_ref(Ref(caller.namespace, name)).name},
        }
        for index, name in _numbered(pod)
    ]
    if caller.bundle and found:
        found.append({"name": "bundle", "configMap": {"name": caller.bundle}})
    return found


def job_name(pod: Pod, run: str, number: int) -> str:
    """Return the name of a round's Job."""
    who = pod.caller.name if pod.caller else "stranger"
    return f"troth-probe-{who[:24].rstrip('-.')}-{run}-{number}".replace(".", "-")
