"""What Prometheus and Grafana are told about the server is true."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from broker import MOSQUITTO, Broker

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/bark-stream.json").read_text(encoding="utf-8"))
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))
BROKER_ONLY = {"bark_mqtt_connected"}


def _queries() -> dict[str, str]:
    panels = {
        f"panel {panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }
    rules = {f"alert {rule['alert']}": rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
    return panels | rules


async def _metrics(live: Any) -> set[str]:
    """Names of the series that a server shows."""
    import asyncio

    server = await live.start()
    address = f"http://127.0.0.1:{server.port}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(address).read().decode())
    names: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
        names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"} if kind == "histogram" else {name}
    return names


async def test_every_query_names_series_that_exist(live: Any) -> None:
    """Each name in a panel or an alert is on the server's real /metrics."""
    names = await _metrics(live)
    for where, query in _queries().items():
        named = set(re.findall(r"\bbark_\w+", query))
        assert named, where
        assert named - names - BROKER_ONLY == set(), where


def test_queries_group_by_labels_that_exist() -> None:
    """`by (…)` and legends name labels that the metrics have."""
    labels = {"le", "stage", "code", "format", "how"}
    for where, query in _queries().items():
        for named in re.findall(r"by \(([^)]*)\)", query):
            assert set(named.replace(" ", "").split(",")) <= labels, where
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_dashboard_panels_do_not_overlap() -> None:
    """Each panel has its place within the grid's 24 columns, and an id of its own."""
    panels = DASHBOARD["panels"]
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_provisioning_finds_the_dashboard_and_its_source() -> None:
    """The dashboards' data source is the one that is set up, and the folder is the one that is mounted."""
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    compose = yaml.safe_load((DEPLOY.parent / "compose.yaml").read_text(encoding="utf-8"))
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/bark-stream.yaml").read_text())["providers"][0]
    mounts = [volume.split(":")[1] for volume in compose["services"]["grafana"]["volumes"]]
    assert provider["options"]["path"] in mounts
    scraped = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]["static_configs"]
    host, port = scraped[0]["targets"][0].split(":")
    assert host in compose["services"]
    assert compose["services"][host]["ports"] == [f"127.0.0.1:{port}:{port}"]


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
async def test_broker_takes_its_configuration(tmp_path: Path) -> None:
    """mosquitto starts with the file's lines."""
    lines = (DEPLOY / "mosquitto/mosquitto.conf").read_text(encoding="utf-8").splitlines()
    broker = Broker(tmp_path, *[line for line in lines if line and not line.startswith(("#", "listener"))])
    await broker.start()
    await broker.stop()
