"""The manifests of deploy/kubernetes against Kubernetes' schemas, and against the service itself.

No cluster runs here. What `kubectl kustomize` makes of them is looked at where there is a kubectl.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as monitoring
from running_ray import CLUSTER_ENV

from deploy.kubernetes.rules import RULES, prometheus_rule
from service.routes.operations import router
from service.settings import Settings
from service.telemetry import Telemetry

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BUILT = ("overlays/cpu", "overlays/gpu", "overlays/ray", "monitoring")
PATCHES = KUBERNETES / "overlays" / "gpu"
Manifest = dict


def documents(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document]


def written() -> Iterator[tuple[str, Manifest]]:
    """Every whole manifest as it stands in its file, with a name for it."""
    for file in sorted(KUBERNETES.rglob("*.yaml")):
        if file.parent == PATCHES:
            continue
        for document in documents(file.read_text(encoding="utf-8")):
            if document.get("kind", "Kustomization") != "Kustomization":
                yield f"{file.relative_to(KUBERNETES)}:{document['kind']}", document


WRITTEN = dict(written())


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: list[Manifest]) -> Iterator[tuple[dict, dict]]:
    """Labels and spec of every pod that would run, with the labels that KubeRay adds."""
    for deployment in of_kind(manifests, "Deployment"):
        template = deployment["spec"]["template"]
        yield template["metadata"]["labels"], template["spec"]
    for service in of_kind(manifests, "RayService"):
        cluster = service["spec"]["rayClusterConfig"]
        groups = [("head", cluster["headGroupSpec"])]
        groups += [("worker", group) for group in cluster["workerGroupSpecs"]]
        for kind, group in groups:
            template = group["template"]
            yield template["metadata"]["labels"] | {"ray.io/node-type": kind}, template["spec"]


def validate(manifest: Manifest) -> None:
    """Against the schema of its kind, with nothing in it that the schema does not know."""
    if manifest["apiVersion"].startswith("monitoring.coreos.com/"):
        model = getattr(monitoring, manifest["kind"]).model_validate(manifest)
        known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert known == manifest
    elif manifest["kind"] == "RayService":
        validate_ray_service(manifest)
    else:
        kubernetes_validate.validate(manifest, "1.37", strict=True)


def validate_ray_service(manifest: Manifest) -> None:
    """KubeRay's schema is not to be had as a package: the pods by Kubernetes', the rest by name."""
    spec = manifest["spec"]
    assert spec.keys() <= {"upgradeStrategy", "serveConfigV2", "rayClusterConfig"}
    assert spec["upgradeStrategy"].keys() == {"type"}
    cluster = spec["rayClusterConfig"]
    assert cluster.keys() <= {
        "rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions",
        "headGroupSpec", "workerGroupSpecs",
    }  # fmt: skip
    assert cluster["headGroupSpec"].keys() == {"rayStartParams", "template"}
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() == {
            "groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template",
        }  # fmt: skip
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        template = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(template, "1.37", strict=True)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_manifest_is_what_its_schema_says(name):
    validate(WRITTEN[name])


def test_what_a_schema_does_not_know_is_found():
    service = WRITTEN["base/service.yaml:Service"]
    with pytest.raises(kubernetes_validate.ValidationError):
        validate(service | {"spec": service["spec"] | {"portz": []}})
    monitor = WRITTEN["monitoring/servicemonitor.yaml:ServiceMonitor"]
    with pytest.raises(AssertionError):
        validate(monitor | {"spec": monitor["spec"] | {"endpointz": []}})


@pytest.mark.parametrize("overlay", BUILT)
def test_kustomize_builds_valid_manifests(overlay):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl 1.27 or newer is not installed")
    built = subprocess.run(
        [kubectl, "kustomize", KUBERNETES / overlay],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": "/nonexistent"},
    )
    manifests = documents(built.stdout)
    assert manifests
    for manifest in manifests:
        validate(manifest)
    maps = {manifest["metadata"]["name"] for manifest in of_kind(manifests, "ConfigMap")}
    used = {
        source["configMapRef"]["name"]
        for _, spec in pods(manifests)
        for container in spec["containers"]
        for source in container.get("envFrom", [])
        if "configMapRef" in source
    }
    assert used == maps, "each map is named as kustomize has named it"


@pytest.mark.parametrize(("labels", "spec"), list(pods(list(WRITTEN.values()))))
def test_a_pod_has_no_rights_and_known_needs(labels, spec):
    assert spec["enableServiceLinks"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    if labels.get("app.kubernetes.io/component") != "redis":
        assert spec["securityContext"]["runAsUser"] == 10001  # as in the Dockerfile
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        resources = container["resources"]
        assert resources["requests"].keys() >= {"cpu", "memory"}
        assert resources["limits"]["memory"] == resources["requests"]["memory"]


def test_selectors_find_their_pods_and_names_their_ports():
    manifests = list(WRITTEN.values())
    labels = [labels for labels, _ in pods(manifests)]
    ports = {port["name"] for _, spec in pods(manifests) for c in spec["containers"]
             for port in c["ports"]}  # fmt: skip
    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        selector = spec.get("podSelector" if kind == "NetworkPolicy" else "selector", {})
        wanted = selector if kind == "Service" else selector.get("matchLabels", {})
        if kind not in ("RayService", "HorizontalPodAutoscaler"):
            assert wanted
            assert any(wanted.items() <= found.items() for found in labels), manifest
        for endpoint in spec.get("podMetricsEndpoints", []):
            assert endpoint["port"] in ports
    [monitor], services = of_kind(manifests, "ServiceMonitor"), of_kind(manifests, "Service")
    wanted = monitor["spec"]["selector"]["matchLabels"]
    [found] = [s for s in services if wanted.items() <= s["metadata"]["labels"].items()]
    assert monitor["spec"]["endpoints"][0]["port"] == found["spec"]["ports"][0]["name"]


def settings_of_base() -> dict[str, str]:
    base = yaml.safe_load((KUBERNETES / "base" / "kustomization.yaml").read_text(encoding="utf-8"))
    return dict(literal.split("=", 1) for literal in base["configMapGenerator"][0]["literals"])


def test_the_pod_is_told_what_the_service_knows():
    given = {name.removeprefix("VISAGE_").lower(): v for name, v in settings_of_base().items()}
    Settings(**given)
    spec = WRITTEN["base/deployment.yaml:Deployment"]["spec"]["template"]["spec"]
    [container] = spec["containers"]
    assert container["ports"][0]["containerPort"] == int(given["port"])
    paths = {route.path for route in router.routes}
    for probe, path in (("startup", "/readyz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}
        assert path in paths
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert spec["terminationGracePeriodSeconds"] >= pause + int(given["drain_grace"]) + 5


def test_the_autoscalers_ask_for_metrics_that_the_adapter_and_the_service_have():
    declared = {
        metric.name + suffix
        for metric in Telemetry().registry.collect()
        for suffix in (("", "_sum") if metric.type == "histogram" else ("",))
    }
    text = (KUBERNETES / "prometheus-adapter.yaml").read_text(encoding="utf-8")
    rules = yaml.safe_load(text)["rules"]["custom"]
    assert {rule["seriesQuery"].partition("{")[0] for rule in rules} <= declared
    brought = {rule["name"]["as"] for rule in rules}
    [patch] = documents((PATCHES / "autoscaler.yaml").read_text(encoding="utf-8"))
    asked = [
        {m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"] if "pods" in m}
        for scaler in (WRITTEN["base/autoscaler.yaml:HorizontalPodAutoscaler"], patch)
    ]
    assert asked == [{"visage_queue_depth"}, {"visage_queue_depth", "visage_engine_utilization"}]
    assert set().union(*asked) == brought


def test_alert_rules_become_a_prometheus_rule(tmp_path):
    with pytest.raises(FileNotFoundError, match="no rule file"):
        prometheus_rule(tmp_path)
    alert = {"alert": "NotReady", "expr": "visage_ready == 0", "for": "5m"}
    text = yaml.safe_dump({"groups": [{"name": "visage", "rules": [alert]}]})
    (tmp_path / "visage.yml").write_text(text, encoding="utf-8")
    rule = prometheus_rule(tmp_path)
    validate(rule)
    assert rule["spec"]["groups"][0]["rules"] == [alert]
    assert RULES.is_dir()
    validate(prometheus_rule(RULES))


def test_kubernetes_gives_ray_the_variables_of_its_env_file():
    ours = yaml.safe_load((CLUSTER_ENV.parent / "kustomization.yaml").read_text(encoding="utf-8"))
    assert ours["configMapGenerator"] == [
        {"name": "visage-ray-cluster", "envs": [CLUSTER_ENV.name]}
    ]
