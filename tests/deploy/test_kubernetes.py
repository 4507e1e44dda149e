"""The manifests, held against the real schemas and the operator's own code, and carried out without a cluster."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from containers import ROOT, Container, Mount, Network, missing, read_container_file

import distlasso as dl

yaml = pytest.importorskip("yaml", reason="manifests are read by PyYAML")

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.32"
UID = 10001

pytestmark = pytest.mark.xdist_group("containers")
engineless = pytest.mark.skipif(missing() is not None, reason=f"no containers here: {missing()}")


def manifests() -> list[dict[str, Any]]:
    files = sorted(file for file in FOLDER.glob("*.yaml") if file.name != "kustomization.yaml")
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in manifests() if one["kind"] == kind and one["metadata"]["name"] == name)


def pods() -> dict[str, dict[str, Any]]:
    """Metadata and specs of all pods that will be, by role."""
    cluster = named("DaskCluster", "distlasso")["spec"]
    found = {role: {"spec": cluster[role]["spec"], "labels": {"dask.org/cluster-name": "distlasso", "dask.org/component": role}}
             for role in ("scheduler", "worker")}  # fmt: skip
    for role, kind, name in (("service", "Deployment", "distlasso-service"), ("fit", "Job", "fit-flights")):
        template = named(kind, name)["spec"]["template"]
        found[role] = {"spec": template["spec"], "labels": template["metadata"]["labels"]}
    return found


PODS = pods()


def test_every_manifest_is_valid_for_kubernetes() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="schemas of Kubernetes: PyPI kubernetes-validate").validate
    for manifest in manifests():
        if manifest["kind"] != "DaskCluster":
            validate(manifest, VERSION, strict=True)
    for role, pod in PODS.items():  # strictly too, which the schema of a custom resource is not
        validate({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role}, "spec": pod["spec"]}, VERSION, strict=True)
    cluster = named("DaskCluster", "distlasso")["spec"]["scheduler"]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": cluster["service"]}
    validate(service, VERSION, strict=True)


def test_a_word_that_kubernetes_does_not_know_is_found() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="schemas of Kubernetes: PyPI kubernetes-validate")
    wrong = named("Deployment", "distlasso-service")
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(validate.ValidationError, match="readinesProbe"):
        validate.validate(wrong, VERSION, strict=True)


def test_the_cluster_is_valid_for_the_operator() -> None:
    """By the schema of its custom resource, as the operator's own release has it."""
    schemas = pytest.importorskip("jsonschema", reason="schemas are checked by jsonschema")
    package = importlib.util.find_spec("dask_kubernetes")
    if package is None:
        pytest.skip("the operator's definitions: PyPI dask-kubernetes")
    (place,) = package.submodule_search_locations or []
    file = next(Path(place).rglob("crds/daskcluster.yaml"))
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    cluster = named("DaskCluster", "distlasso")
    assert cluster["apiVersion"] == f"kubernetes.dask.org/{version['name']}"
    schemas.validate(cluster, version["schema"]["openAPIV3Schema"])
    del cluster["spec"]["scheduler"]["service"]["ports"][0]["port"]
    with pytest.raises(schemas.ValidationError, match="'port' is a required property"):
        schemas.validate(cluster, version["schema"]["openAPIV3Schema"])


def test_what_the_operator_makes_of_the_cluster_speaks_tls_and_is_what_the_policies_name() -> None:
    controller = pytest.importorskip("dask_kubernetes.operator.controller.controller", reason="the operator: PyPI dask-kubernetes")
    validate = pytest.importorskip("kubernetes_validate", reason="schemas of Kubernetes: PyPI kubernetes-validate").validate
    spec = named("DaskCluster", "distlasso")["spec"]
    made = {
        "scheduler": controller.build_scheduler_deployment_spec("distlasso", spec["scheduler"]["spec"], {}, {}),
        "worker": controller.build_worker_deployment_spec(
            "distlasso-default", "distlasso", "distlasso", "0a1b2c", spec["worker"]["spec"], {}, {}
        ),
    }
    service = controller.build_scheduler_service_spec("distlasso", spec["scheduler"]["service"], {}, {})
    for manifest in (*made.values(), service):
        validate(manifest, VERSION, strict=True)
    for role, deployment in made.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert PODS[role]["labels"].items() <= labels.items()
    addresses = [one["value"] for one in made["worker"]["spec"]["template"]["spec"]["containers"][0]["env"]
                 if one["name"] == "DASK_SCHEDULER_ADDRESS"]  # fmt: skip
    assert addresses == [f"tls://{service['metadata']['name']}:8786"]
    assert service["spec"]["selector"].items() <= made["scheduler"]["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("role", PODS)
def test_pods_are_admitted_where_pods_are_restricted(role: str) -> None:
    """What the namespace's pod security standard "restricted" asks for, and limits, which it does not."""
    spec = PODS[role]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] == UID
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {kind for volume in spec["volumes"] for kind in volume} <= {"name", "secret", "emptyDir", "persistentVolumeClaim"}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        for resource in ("cpu", "memory", "ephemeral-storage"):
            assert resource in container["resources"]["requests"] and resource in container["resources"]["limits"]
        assert not any("valueFrom" in one or "token" in one["name"].lower() for one in container.get("env", ()))


def test_data_is_never_writable_and_each_role_has_its_own_key() -> None:
    keys = {}
    for role, pod in PODS.items():
        (container,) = pod["spec"]["containers"]
        sources = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in container["volumeMounts"]:
            assert mount["name"] in sources
            assert mount.get("readOnly") is True or mount["name"] in ("tmp", "state", "models")
        keys[role] = [volume["secret"]["secretName"] for volume in sources.values() if "secret" in volume]
    assert keys == {
        "scheduler": ["distlasso-scheduler"], "worker": ["distlasso-worker"], "service": ["distlasso-client", "distlasso-service"],
        "fit": ["distlasso-client"],
    }  # fmt: skip
    readme = (ROOT / "deploy" / "README.md").read_text()
    assert re.search(r"for role in scheduler worker client service", readme) and "distlasso-$role" in readme


def test_policies_close_everything_and_open_what_the_roles_use() -> None:
    policies = [one for one in manifests() if one["kind"] == "NetworkPolicy"]
    assert any(one["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} for one in policies)
    allowed = {
        (caller, called) for caller in PODS for called in PODS
        if opens(policies, called, "ingress", caller) and opens(policies, caller, "egress", called)
    }  # fmt: skip
    assert allowed == {
        ("worker", "scheduler"), ("scheduler", "worker"), ("worker", "worker"), ("service", "scheduler"), ("fit", "scheduler"),
    }  # fmt: skip
    used = {"scheduler": {8786}, "worker": {8788, 8789}, "service": {8443}, "fit": set()}
    for role, ports in used.items():
        assert ports_open(policies, role) == ports
        declared = {port["containerPort"] for port in PODS[role]["spec"]["containers"][0].get("ports", ())}
        assert ports <= declared


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", ())
    assert all(one["operator"] == "In" for one in expressions)
    matches = all(labels.get(one["key"]) in one["values"] for one in expressions)
    return matches and selector.get("matchLabels", {}).items() <= labels.items()


def opens(policies: list[dict[str, Any]], role: str, direction: str, other: str) -> bool:
    """Whether some policy of a role lets it talk with another pod of the namespace, in a direction."""
    peers = [
        peer for policy in policies if selects(policy["spec"]["podSelector"], PODS[role]["labels"])
        for rule in policy["spec"].get(direction, ()) for peer in rule["from" if direction == "ingress" else "to"]
    ]  # fmt: skip
    return any("namespaceSelector" not in peer and selects(peer["podSelector"], PODS[other]["labels"]) for peer in peers)


def ports_open(policies: list[dict[str, Any]], role: str) -> set[int]:
    rules = [
        port for policy in policies if selects(policy["spec"]["podSelector"], PODS[role]["labels"])
        for rule in policy["spec"].get("ingress", ()) for port in rule["ports"]
    ]  # fmt: skip
    return {number for port in rules for number in range(port["port"], port.get("endPort", port["port"]) + 1)}


class Pods:
    """Pods as containers on one network, with the operator's environment and the kubelet's probes."""

    def __init__(self, folder: Path, deployed: Path) -> None:
        self.image = read_container_file(ROOT / "deploy" / "Containerfile")
        self.folder, self.deployed = folder, deployed
        hosts = {"scheduler": "distlasso-scheduler", "worker": "worker", "service": "distlasso-service", "fit": "fit"}
        self.hosts = hosts
        self.network = Network(folder, {host: f"10.77.0.{k + 2}" for k, host in enumerate(hosts.values())})
        for name in ("models", "state"):
            (folder / name).mkdir()
            (folder / name).chmod(0o777)  # as fsGroup makes them writable
        self.claims = {f"distlasso-{name}": folder / name for name in ("models", "state")} | {"distlasso-data": deployed / "data"}
        self.containers: dict[str, Container] = {}

    def start(self, role: str, *words: str, **replaced: str) -> Container:
        """Start a pod of a role; ``words`` are appended to its arguments."""
        spec = PODS[role]["spec"]
        (container,) = spec["containers"]
        environment = {"DASK_WORKER_NAME": "w"} | {one["name"]: one["value"] for one in container.get("env", ())}
        arguments = [re.sub(r"\$\((\w+)\)", lambda match: environment[match[1]], word) for word in container["args"]]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        mounts, tmpfs = [Mount(self.deployed / "kernels", "/opt/kernels")], []
        for mount in container["volumeMounts"]:
            volume, target = volumes[mount["name"]], mount["mountPath"]
            if "emptyDir" in volume:
                tmpfs.append(f"{target}:mode=1777")
            elif "secret" in volume:
                mounts += [Mount(file, f"{target}/{name}") for name, file in self.secret(volume["secret"]["secretName"]).items()]
            else:
                claim = self.claims[volume["persistentVolumeClaim"]["claimName"]]
                mounts.append(Mount(claim, target, mount.get("readOnly", False)))
        context = spec["securityContext"]
        self.containers[role] = self.network.start(
            self.image, self.hosts[role], [replaced.get(word, word) for word in [*arguments, *words]],
            user=f"{context['runAsUser']}:{context['runAsGroup']}", mounts=mounts, environment=environment, tmpfs=tmpfs,
        )  # fmt: skip
        return self.containers[role]

    def secret(self, name: str) -> dict[str, Path]:
        """The files of a secret, as the README makes it: readable by the pods' group."""
        role = name.removeprefix("distlasso-")
        place = self.folder / name
        if not place.exists():
            place.mkdir()
            for target, source in (("ca.crt", "ca.pem"), ("tls.crt", f"{role}.pem"), ("tls.key", f"{role}.key")):
                content = (self.deployed / "certificates" / source).read_bytes()
                (place / target).write_bytes(content)
                (place / target).chmod(0o444)
        return {file.name: file for file in place.iterdir()}

    def answers(self, role: str, probe: str) -> bool:
        """What the kubelet finds: any status from 200 to 399, whatever the certificate."""
        get = PODS[role]["spec"]["containers"][0][probe]["httpGet"]
        ports = {port["name"]: port["containerPort"] for port in PODS[role]["spec"]["containers"][0]["ports"]}
        url = f"{get['scheme'].lower()}://{self.containers[role].address}:{ports.get(get['port'], get['port'])}{get['path']}"
        fetch = (
            "import ssl, sys, urllib.request as r; context = ssl.create_default_context(); context.check_hostname = False;"
            "context.verify_mode = ssl.CERT_NONE; r.urlopen(sys.argv[1], timeout=3, context=context)"
        )
        try:
            self.network.outside(sys.executable, "-I", "-c", fetch, url)
        except AssertionError:
            return False
        return True

    def wait(self, role: str, probe: str) -> None:
        deadline = time.monotonic() + 180
        while not self.answers(role, probe):
            container = self.containers[role]
            assert container.process.poll() is None and time.monotonic() < deadline, container.log.read_text()
            time.sleep(0.3)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, deployed: Path) -> Iterator[Pods]:
    up = Pods(tmp_path_factory.mktemp("pods"), deployed)
    try:
        for role, probe in (("scheduler", "readinessProbe"), ("worker", "startupProbe")):
            up.start(role)
            up.wait(role, probe)
        yield up
    finally:
        up.network.close()


@engineless
def test_a_job_fits_on_the_cluster_with_the_bits_of_the_image(running: Pods, deployed: Path) -> None:
    job = running.start("fit", **{"/data/flights.zarr": "/data/d.zarr"})
    assert job.process.wait(180) == 0, job.log.read_text()
    found, expected = dl.load(running.folder / "models" / "flights"), dl.load(deployed / "expected")
    assert isinstance(found, dl.Path) and isinstance(expected, dl.Path)
    assert (found.coef != expected.coef).nnz == 0
    np.testing.assert_array_equal(found.gap, expected.gap)


@engineless
def test_the_service_is_ready_and_asks_for_a_token(running: Pods) -> None:
    container = running.start("service")
    running.wait("service", "readinessProbe")
    assert running.answers("service", "livenessProbe")
    made = container.run("distlasso", "token", "create", "me", "--scope", "read", "--json")
    assert made.returncode == 0 and (running.folder / "state" / "jobs.sqlite").exists(), made.stderr
    ask = (
        "import ssl, sys, urllib.request as r; context = ssl.create_default_context(cafile='/run/secrets/distlasso/ca.crt');"
        "headers = {'Authorization': f'Bearer {sys.argv[1]}'} if sys.argv[1:] else {};"
        "r.urlopen(r.Request('https://localhost:8443/v1/jobs', headers=headers), context=context)"
    )
    assert container.run("python", "-c", ask, json.loads(made.stdout)["token"]).returncode == 0
    assert "401" in container.run("python", "-c", ask).stderr


@engineless
def test_probes_turn_when_the_role_dies(running: Pods) -> None:
    assert running.answers("worker", "livenessProbe") and running.answers("scheduler", "livenessProbe")
    assert running.containers["worker"].stop() == 0
    assert not running.answers("worker", "livenessProbe") and running.answers("scheduler", "livenessProbe")
    assert running.containers["scheduler"].stop() == 0
    assert not running.answers("scheduler", "livenessProbe")
