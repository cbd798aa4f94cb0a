"""Whole incidents, changes and snapshots for the tests of what leaves whence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine.records import (
    SECOND_NS,
    Attribution,
    CausalEdge,
    CausalNode,
    Cause,
    ChangeType,
    ChangeVerdict,
    ConfigChange,
    Evidence,
    Family,
    Finding,
    Incident,
    IncidentState,
    Param,
    PeerKind,
    ServiceStatus,
    Severity,
    Snapshot,
    TopologyEdge,
    Verdict,
)

ONSET_NS = 1_700_000_000 * SECOND_NS
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def change(change_id: str = "deploy-7", **rest: Any) -> ConfigChange:
    """A deployment of cart a minute before the onset."""
    fields: dict[str, Any] = {
        "time_ns": ONSET_NS - 60 * SECOND_NS,
        "type": ChangeType.DEPLOYMENT,
        "service": "cart",
        "version": "2.3.0",
        "summary": "Larger pool",
        "params": (Param("pool", "5", "50"),),
    }
    return ConfigChange(change_id, **(fields | rest))


def finding(root: str = "cart", **rest: Any) -> Finding:
    """cart broke; checkout shows it; the deployment did it."""
    seen = Evidence(
        family=Family.SELF_TIME,
        service=root,
        subject="GET /cart",
        start_ns=ONSET_NS,
        end_ns=ONSET_NS + 120 * SECOND_NS,
        z=8.0,
        observed=0.9,
        expected=0.1,
        n=420,
        unit="s",
        sentence=f"GET /cart of {root} takes 0.9 s by itself, usually 0.1 s (420 spans).",
        trace_id=TRACE_ID,
    )
    gap = replace(seen, family=Family.GAP, service="checkout", subject=f"checkout>{root}", z=4.0, observed=float("nan"), trace_id="")
    fields: dict[str, Any] = {
        "start_ns": ONSET_NS,
        "end_ns": ONSET_NS + 120 * SECOND_NS,
        "onset_ns": ONSET_NS,
        "causes": (Cause(root, 8.0, 0.9, (("self_time", 8.0),)), Cause("checkout", 4.0, 0.1, (("gap", 4.0),))),
        "confidence": 0.9,
        "verdict": "confirmed",
        "cause_type": "change",
        "affected": ("checkout", root),
        "evidence": (seen, gap),
        "attribution": Attribution("deploy-7", (ChangeVerdict(change(), 0.8, Verdict.CONFIRMED, ("went live a minute before",)),), 0.1),
        "nodes": (CausalNode("n1", "trace", root, "GET /cart", 32.0), CausalNode("n2", "trace", "checkout", "POST /pay", 8.0)),
        "edges": (CausalEdge("n1", "n2", "callee of checkout", 0.7),),
        "chain": (f"{root} slowed down", "checkout waits for it"),
        "title": f"{root}: slower by itself since deploy-7",
        "action": f"Roll back {root} to the version before 2.3.0.",
    }
    return Finding(**(fields | rest))


def incident(incident_id: str = "5ca1ab1e00000001", **rest: Any) -> Incident:
    """An open incident, found 40 s after its onset."""
    fields: dict[str, Any] = {
        "state": IncidentState.OPEN,
        "severity": Severity.CRITICAL,
        "environment": "production",
        "opened_ns": ONSET_NS + 40 * SECOND_NS,
        "onset_ns": ONSET_NS,
        "updated_ns": ONSET_NS + 40 * SECOND_NS,
        "published_ns": ONSET_NS + 40 * SECOND_NS,
        "finding": finding(),
        "page": True,
        "history": ("opened",),
    }
    return Incident(incident_id, **(fields | rest))


def resolved(one: Incident, after_seconds: int = 600) -> Incident:
    """The same incident, resolved."""
    time_ns = one.onset_ns + after_seconds * SECOND_NS
    return replace(one, state=IncidentState.RESOLVED, resolved_ns=time_ns, updated_ns=time_ns, published_ns=time_ns)


def snapshot(*incidents: Incident) -> Snapshot:
    """Two services, one of them still learning, and the incidents."""
    return Snapshot(
        watermark_ns=ONSET_NS + 60 * SECOND_NS,
        incidents=incidents,
        services=(
            ServiceStatus("cart", 900, 30, 0, ONSET_NS - 3600 * SECOND_NS, ONSET_NS + 60 * SECOND_NS, 1.0, "2.3.0"),
            ServiceStatus("checkout", 500, 0, 12, ONSET_NS - 60 * SECOND_NS, ONSET_NS + 60 * SECOND_NS, 0.25, "", ("no service.version",)),
        ),
        edges=(
            TopologyEdge("checkout", "cart", PeerKind.SERVICE, 100.0, 5.0, 20.0),
            TopologyEdge("cart", "redis", PeerKind.DATABASE, 200.0, 0.0, 1.0),
        ),
        scores=(("cart", "self_time", 32.0), ("checkout", "gap", 8.0)),
        counters=(("rca_anomalies_total", (("service_name", "cart"), ("signal", "self_time")), 3.0),),
        dropped=(("spans", "too_late", 2.0),),
    )
