"""The dashboard is what its code builds, asks only for what whence exposes, and in PromQL that a Prometheus understands."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from exporter.metrics import ROWS, exposed_names
from tests.servers import need

GRAFANA = Path(__file__).resolve().parent.parent / "grafana"
LABEL = re.compile(r"(?:by|on|group_left)\s*\(([^)]*)\)")


def builder() -> ModuleType:
    """grafana/dashboards/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build", GRAFANA / "dashboards" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "whence.json").read_text())
    return found


def targets() -> list[tuple[str, dict[str, Any]]]:
    """(title of the panel, query) of every query."""
    return [(panel["title"], target) for panel in shown()["panels"] for target in panel.get("targets", [])]


def test_the_committed_dashboard_is_what_its_code_builds() -> None:
    assert (GRAFANA / "dashboards" / "whence.json").read_text() == builder().text()


def test_every_query_asks_for_metrics_and_labels_that_exist() -> None:
    exposed = exposed_names()
    for title, target in targets():
        names = re.findall(r"rca_\w+", target["expr"])
        assert names, title
        assert set(names) <= exposed, title
        labels = {each.strip() for group in LABEL.findall(target["expr"]) for each in group.split(",")} - {"le"}
        labels |= set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
        known = {label for name in names for label in ROWS[name.removesuffix("_bucket")].labels}
        assert labels <= known, title


def test_columns_that_tables_show_exist() -> None:
    for panel in shown()["panels"]:
        if panel["type"] != "table":
            continue
        names = {name for target in panel["targets"] for name in re.findall(r"rca_\w+", target["expr"])}
        fields = {label for name in names for label in ROWS[name].labels} | {"Value"}
        fields |= {f"Value #{target['refId']}" for target in panel["targets"]}
        organized = panel["transformations"][-1]["options"]["renameByName"]
        assert set(organized) <= fields, panel["title"]


def test_node_graphs_have_two_instant_tables_named_nodes_and_edges() -> None:
    graphs = [panel for panel in shown()["panels"] if panel["type"] == "nodeGraph"]
    assert len(graphs) == 2
    for panel in graphs:
        asked = [(target["refId"], target["instant"], target["format"]) for target in panel["targets"]]
        assert asked == [("nodes", True, "table"), ("edges", True, "table")]
        edges = ROWS[re.findall(r"rca_\w+", panel["targets"][1]["expr"])[0]].labels
        assert {"id", "source", "target"} <= set(edges)


def test_every_panel_says_what_it_shows_and_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in shown()["panels"]:
        assert panel["type"] == "row" or panel["description"], panel["title"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.server
def test_prometheus_understands_every_query(tmp_path: Path) -> None:
    promtool = need("promtool")
    rules = [
        {"record": f"asked:{at}", "expr": target["expr"].replace("$__rate_interval", "5m")} for at, (_, target) in enumerate(targets())
    ]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([promtool, "check", "rules", "--lint=none", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_provisioning_finds_the_dashboard_and_a_data_source() -> None:
    sources = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert [source["type"] for source in sources] == [shown()["templating"]["list"][0]["query"]]
    providers = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "whence.yaml").read_text())["providers"]
    assert [(provider["type"], Path(provider["options"]["path"]).name) for provider in providers] == [("file", "whence")]


def test_annotations_are_those_that_the_sink_writes() -> None:
    from exporter.sinks.annotations import change_tags, incident_tags
    from tests.findings import change, incident

    (query,) = shown()["annotations"]["list"]
    assert set(query["target"]["tags"]) <= set(incident_tags(incident())) & set(change_tags(change()))
