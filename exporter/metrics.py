"""Every metric that whence exposes, in one table; self-metrics are counted here, `found` ones rendered by exporter.sinks.prometheus.

Alert identity is stable: what may change about an incident (its cause, title, confidence) stands in metrics of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Row(NamedTuple):
    """One metric. A counter's name ends in _total. by: who makes it: this module, the Snapshot's renderer, or the receiver."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    by: Literal["self", "found", "receiver"] = "self"


def _found(name: str, text: str, *labels: str, kind: Literal["counter", "gauge"] = "gauge") -> Row:
    return Row(name, kind, text, labels, "found")


def _received(name: str, text: str, *labels: str, kind: Literal["counter", "histogram"] = "counter") -> Row:
    return Row(name, kind, text, labels, "receiver")


TABLE: tuple[Row, ...] = (
    # incidents
    _found("rca_incident_active", "1 while the incident is open", "incident_id", "severity", "deployment_environment_name"),
    _found(
        "rca_incident_info",
        "What is said of an open incident now",
        *("incident_id", "root_cause_service_name", "cause_type", "change_id", "title"),
    ),
    _found("rca_incident_page", "1 if the incident is for people now, 0 if only for the record", "incident_id"),
    _found("rca_incident_confidence_ratio", "Probability that the first cause is right", "incident_id"),
    _found("rca_incident_start_timestamp_seconds", "Onset of the incident", "incident_id"),
    _found("rca_incident_acknowledged", "1 once a person acknowledged it", "incident_id"),
    _found(
        "rca_incident_affected_service_info",
        "Services of an incident; role is root_cause or affected",
        *("incident_id", "service_name", "deployment_environment_name", "role"),
    ),
    _found("rca_incident_change_info", "Changes not ruled out", "incident_id", "change_id", "change_type", "service_name", "verdict"),
    _found("rca_root_cause_score_ratio", "Probability of a cause", "incident_id", "service_name", "rank", "cause_type"),
    Row("rca_incidents_total", "counter", "Incidents opened or reopened", ("severity",)),
    # signals
    _found("rca_anomalies_total", "Deviations that crossed their threshold", "service_name", "signal", kind="counter"),
    _found("rca_rows_total", "Learned rows by source and what became of them", "source", "what", kind="counter"),
    _found("rca_anomaly_score_nats", "Loudest deviation of the last window", "service_name", "signal"),
    Row("rca_config_changes_total", "counter", "Changes taken", ("change_type", "inferred")),
    # graphs
    _found("rca_topology_node_info", "Services and virtual nodes", "id", "title", "subtitle"),
    _found("rca_topology_edge_calls", "Calls along an edge, lately", "id", "source", "target"),
    _found("rca_topology_edge_errors_ratio", "Failed share of the calls along an edge", "id", "source", "target"),
    _found("rca_topology_edge_duration_seconds", "Mean duration of the calls along an edge", "id", "source", "target"),
    _found("rca_causal_node_score_nats", "Node of an open incident's causal graph", "incident_id", "id", "title", "subtitle"),
    _found("rca_causal_edge_weight", "source may have caused target, and why", "incident_id", "id", "source", "target", "reason"),
    # what arrives
    _found("rca_service_items_total", "Spans, logs and points by service", "service_name", "signal", kind="counter"),
    _found("rca_service_last_seen_timestamp_seconds", "Latest event time of a service", "service_name"),
    _found("rca_service_learning_ratio", "Share of a service's normal behaviour that is learnt; 1: ready", "service_name"),
    _found("rca_watermark_timestamp_seconds", "Event time up to which everything is decided"),
    _found("rca_engine_dropped_total", "Items the engine did not use", "what", "reason", kind="counter"),
    _found("rca_engine_hurried_total", "Times that windows closed early: engine.waiting_items waited", kind="counter"),
    _found(
        "rca_traces_share_ratio",
        "Share of traces that are joined, kept of the last two minutes at the least, and read while they wait for their rest",
        "place",
    ),
    Row("rca_hint", "gauge", "1: something about the telemetry makes whence blind", ("service_name", "hint")),
    # receiving
    _received("rca_receiver_items_total", "Spans, log records and data points taken", "transport", "signal"),
    _received("rca_receiver_refused_requests_total", "Requests that were not taken", "transport", "reason"),
    _received("rca_receiver_dropped_items_total", "Items of taken requests that are left out", "reason"),
    _received("rca_receiver_request_duration_seconds", "From a request's last byte to its answer", "transport", "signal", kind="histogram"),
    Row("rca_receiver_in_flight_bytes", "gauge", "Bytes of requests that the engine has not taken yet"),
    Row("rca_receiver_in_flight_limit_bytes", "gauge", "Beyond this, senders are asked to retry"),
    # stages
    Row("rca_engine_queue_batches", "gauge", "Batches waiting for the engine"),
    Row("rca_engine_batches_total", "counter", "Batches taken by the engine"),
    Row("rca_engine_busy_seconds_total", "counter", "Time the engine worked"),
    Row("rca_engine_window_close_seconds", "histogram", "Time of a step that closes a window, or several to catch up"),
    Row("rca_row_latency_seconds", "histogram", "From the arrival of a batch until the rows of its spans and records are scored"),
    Row("rca_engine_errors_total", "counter", "Batches lost to a bug of ours"),
    Row("rca_training_running", "gauge", "1 while a model is trained in the second process"),
    Row("rca_store_commits_total", "counter", "Transactions"),
    Row("rca_store_errors_total", "counter", "Transactions that failed"),
    Row("rca_store_commit_duration_seconds", "histogram", "Time of a transaction"),
    Row("rca_state_save_timestamp_seconds", "gauge", "When the engine's state was last saved; 0: never"),
    Row("rca_state_size_bytes", "gauge", "Size of the saved state"),
    Row("rca_sink_sent_total", "counter", "Deliveries", ("sink",)),
    Row("rca_sink_retries_total", "counter", "Deliveries that have to be tried again", ("sink",)),
    Row("rca_sink_dropped_total", "counter", "Deliveries given up", ("sink", "reason")),
    Row("rca_sink_queue_length", "gauge", "Deliveries waiting", ("sink",)),
    Row("rca_sink_up", "gauge", "1 if the last delivery succeeded", ("sink",)),
    Row("rca_web_requests_total", "counter", "Requests to the web port", ("path", "code")),
    Row("rca_config_last_reload_successful", "gauge", "1 if the last reload of the settings worked"),
    Row("rca_config_last_reload_timestamp_seconds", "gauge", "When settings were last loaded"),
    Row("rca_degraded", "gauge", "1: works, but not fully", ("reason",)),
    Row(
        "rca_build_info",
        "gauge",
        "Version, decoder (walker, plain), kernels (compiled, plain)",
        ("version", "decoder", "kernels"),
    ),
)
ROWS = {row.name: row for row in TABLE}
#: 1 ms ... 10 min; 0.15: what closing a window may take
BUCKETS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.15, 0.3, 1.0, 3.0, 10.0, 60.0, 600.0)


def exposed_names() -> set[str]:
    """Names as they stand in an exposition: histograms have three.

    >>> {"rca_incidents_total", "rca_store_commit_duration_seconds_bucket"} <= exposed_names()
    True
    """
    names = set()
    for row in TABLE:
        names |= {f"{row.name}_{part}" for part in ("bucket", "sum", "count")} if row.kind == "histogram" else {row.name}
    return names


class Metrics:
    """Self-metrics of one process, and the registry that `/metrics` renders. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        for row in TABLE:
            if row.by != "self":
                continue
            if row.kind == "counter":
                self._made[row.name] = Counter(row.name, row.help, row.labels, registry=self.registry)
            elif row.kind == "gauge":
                self._made[row.name] = Gauge(row.name, row.help, row.labels, registry=self.registry)
            else:
                self._made[row.name] = Histogram(row.name, row.help, row.labels, registry=self.registry, buckets=BUCKETS)

    def _child(self, name: str, labels: dict[str, str]) -> Counter | Gauge | Histogram:
        made = self._made[name]
        return made.labels(**labels) if labels else made

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter of the table. Raises: KeyError for a name that is not in it."""
        child = self._child(name, labels)
        if isinstance(child, Histogram):
            raise TypeError(f"{name} is a histogram: observe it")
        child.inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        child = self._child(name, labels)
        if not isinstance(child, Gauge):
            raise TypeError(f"{name} is no gauge")
        child.set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add to a histogram."""
        child = self._child(name, labels)
        if not isinstance(child, Histogram):
            raise TypeError(f"{name} is no histogram")
        child.observe(value)

    def value(self, name: str, **labels: str) -> float:
        """Current value of a counter or gauge, 0 if it never moved."""
        return self.registry.get_sample_value(name, labels) or 0.0

    def values(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample of a counter or gauge, largest first."""
        families = self.registry.restricted_registry([name]).collect()
        found = [(sample.labels, sample.value) for family in families for sample in family.samples if sample.name == name]
        return sorted(found, key=lambda pair: -pair[1])

    def only(self, name: str, present: Iterable[tuple[str, ...]]) -> None:
        """Make a gauge of state 1 for exactly these label values: what is gone vanishes."""
        made = self._made[name]
        made.clear()
        for values in present:
            child = made.labels(*values)
            if isinstance(child, Gauge):
                child.set(1)
