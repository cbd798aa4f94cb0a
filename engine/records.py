"""The values that pass between rooms: columns in (Batch, ConfigChange), findings out (Finding, Incident, Snapshot).

Times are int64 nanoseconds since 1970 UTC. Strings in columns are codes of `engine.strings.Strings`; strings in findings are texts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import IntEnum, StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 3600 * SECOND_NS


class SpanKind(IntEnum):
    """OTLP Span.SpanKind."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """OTLP Status.StatusCode."""

    UNSET = 0
    OK = 1
    ERROR = 2


class PeerKind(IntEnum):
    """What a span says it talks to."""

    NONE = 0
    SERVICE = 1
    DATABASE = 2
    QUEUE = 3
    EXTERNAL = 4


class PointType(IntEnum):
    """OTLP metric data."""

    GAUGE = 1
    SUM = 2
    HISTOGRAM = 3
    EXPONENTIAL_HISTOGRAM = 4
    SUMMARY = 5


class Temporality(IntEnum):
    """OTLP AggregationTemporality."""

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


POINT_MONOTONIC = 1  # bit of PointColumns.flags
POINT_NO_RECORDED_VALUE = 2  # bit of PointColumns.flags: the series went stale

SEVERITY_WARN = 13
SEVERITY_ERROR = 17  # OTLP SeverityNumber, lowest of its range


class Resource(NamedTuple):
    """Who sent a record. `service` is the full identity: `service.namespace` + "/" + `service.name` where there is a namespace.

    `service` is "" when the sender named none (absent or unknown_service*): then host, pod or container may join it to one.
    """

    service: str = ""
    environment: str = ""
    zone: str = ""
    host: str = ""  # host.name, else k8s.node.name
    instance: str = ""  # service.instance.id, else k8s.pod.name, else container.id
    pod: str = ""  # k8s.pod.name
    container: str = ""  # container.id
    version: str = ""  # service.version
    image: str = ""  # container.image.tags / digest


@dataclass(frozen=True, slots=True)
class SpanColumns:
    """One row a span; the time of a span is its end."""

    time_ns: I64
    resource: I32  # code in engine.strings.Resources
    trace_hi: U64
    trace_lo: U64
    span: U64
    parent: U64  # 0: root
    start_ns: I64
    operation: I32  # kind "operation": the span's name
    kind: U8  # SpanKind
    status: U8  # Status
    peer: I32  # kind "value": service.peer.name, peer.service, server.address or network.peer.address; 0: none
    peer_kind: U8  # PeerKind
    error_type: I32  # kind "value": error.type, exception.type, or the failing HTTP or RPC status
    message: I32  # kind "template": folded status message or error.message
    statement: I32  # kind "template": folded db.query.text
    weight: F32  # spans of the population that this one stands for (tracestate ot=th), 1 when unsampled


@dataclass(frozen=True, slots=True)
class LogColumns:
    """One row a log record."""

    time_ns: I64
    resource: I32
    trace_hi: U64  # 0, 0: no trace
    trace_lo: U64
    span: U64
    severity: U8  # OTLP SeverityNumber
    template: I32  # kind "template": the folded body
    exception: I32  # kind "text": exception type, message and stack (exception.*, *.stacktrace, stack, error.message), cut, not folded
    event_name: I32  # kind "value"
    peer: I32  # kind "value": server.address, peer.service, upstream.host, ...; 0: none
    statement: I32  # kind "template": folded db.query.text


@dataclass(frozen=True, slots=True)
class PointColumns:
    """One row a metric data point. A histogram's buckets are rows counts_at[i]:counts_at[i + 1] of `counts`.

    Exponential histograms arrive with explicit bounds, too (the decoder writes them out), and summaries with
    quantiles as bounds and their values as counts (float64 in `quantiles`).
    """

    time_ns: I64
    resource: I32
    series: I32  # kind "series": see series_text
    metric: I32  # kind "value": the name
    unit: I32  # kind "value": UCUM unit
    type: U8  # PointType
    temporality: U8  # Temporality
    flags: U8
    start_ns: I64
    value: F64  # gauge, sum; NaN for histograms
    sum: F64
    count: U64
    counts_at: I64  # [n + 1]
    counts: F64  # [m] bucket counts; a summary's quantile values
    bounds: I32  # row of Batch.bounds, -1: none


def series_text(resource: int, metric: str, attributes: tuple[tuple[str, str], ...]) -> str:
    """The text that a series is interned by: resource code, metric and attributes sorted by key.

    >>> series_text(3, "rpc.duration", (("peer", "cart"),))
    '3\\x1frpc.duration\\x1fpeer\\x1ecart'
    """
    return "\x1f".join((str(resource), metric, *(f"{key}\x1e{value}" for key, value in attributes)))


def series_attributes(text: str) -> tuple[tuple[str, str], ...]:
    """The attributes of a series text.

    >>> series_attributes(series_text(3, "rpc.duration", (("peer", "cart"),)))
    (('peer', 'cart'),)
    """
    return tuple((key, value) for key, _, value in (part.partition("\x1e") for part in text.split("\x1f")[2:]))


@dataclass(frozen=True, slots=True)
class LinkColumns:
    """Links of spans: `row` is the span's row in the same batch."""

    row: I64
    trace_hi: U64
    trace_lo: U64
    span: U64


class ChangeType(StrEnum):
    """What kind of thing changed."""

    DEPLOYMENT = "deployment"
    CONFIG = "config.change"
    CODE = "code.change"
    FEATURE_FLAG = "feature_flag.change"


class Param(NamedTuple):
    """A changed parameter. Values are empty where the sender gave none or the settings redact them."""

    name: str
    old: str = ""
    new: str = ""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Something that people or machines changed on purpose."""

    id: str
    time_ns: int
    type: ChangeType
    service: str = ""  # "": the source does not know
    environment: str = ""
    kind: str = ""  # the source's own word: parameter, deploy, commit, flag, ...
    actor: str = ""
    version: str = ""
    revision: str = ""  # vcs.ref.head.revision
    deployment_id: str = ""
    flag_key: str = ""
    flag_variant: str = ""
    files: tuple[str, ...] = ()
    files_changed: int = 0
    lines_added: int = 0
    lines_removed: int = 0
    params: tuple[Param, ...] = ()
    summary: str = ""
    diff: str = ""
    inferred: bool = False  # seen in telemetry (a new service.version), not announced


@dataclass(frozen=True, slots=True)
class Batch:
    """One export, in columns. Codes are of the receiver's Strings and Resources: they outlive the batch."""

    spans: SpanColumns | None = None
    logs: LogColumns | None = None
    points: PointColumns | None = None
    links: LinkColumns | None = None
    changes: tuple[ConfigChange, ...] = ()
    bounds: tuple[F64, ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()  # reason (exporter.decode.drops.Drop), items of the export that are in no column

    def check_whole(self) -> None:
        """Columns of one kind must be of one length: a batch that is not would spoil all that waits with it in the engine.

        Raises: RuntimeError, for it is a bug of the decoder.
        """
        for columns in (self.spans, self.logs, self.links):
            if columns is not None and len({len(getattr(columns, each.name)) for each in fields(columns)}) > 1:
                raise RuntimeError(f"columns of unequal length: {type(columns).__name__}")
        points = self.points
        if points is not None:
            rows = {each.name: len(getattr(points, each.name)) for each in fields(points) if each.name not in {"counts", "counts_at"}}
            if len(set(rows.values())) > 1 or len(points.counts_at) != rows["time_ns"] + 1 or points.counts_at[-1] != len(points.counts):
                raise RuntimeError("columns of unequal length: PointColumns")


class Family(StrEnum):
    """Families of evidence."""

    FLOW = "flow"
    GAP = "gap"
    SELF_TIME = "self_time"
    ERROR = "error"
    RESOURCE = "resource"
    RATE = "rate"
    ABSENCE = "absence"
    METRIC = "metric"
    LEVEL = "level"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One deviation from a subject's own past: 0 when things are usual, one scale for all families.

    `z` counts standard deviations, one-sided; in nats it is z^2 / 2. `for_opening` is False for families that rank but must not open
    incidents.
    """

    family: Family
    service: str  # charged with it
    subject: str  # what deviates, in words a person knows: an operation, an edge, a series
    start_ns: int
    end_ns: int
    z: float
    observed: float
    expected: float
    n: int
    unit: str
    sentence: str  # for the engineer, with numbers
    trace_id: str = ""  # an example, 32 hex digits
    peer: str = ""  # the other service of an edge
    for_opening: bool = True
    user_visible: bool = False
    signal: str = ""  # traces, logs or metrics it was seen in; "": the family's usual one
    instance: str = ""  # the only instance of the service that shows it; "": several or unknown
    zone: str = ""  # the only zone of the service that shows it, where there are others; "": several or unknown

    @property
    def score_nats(self) -> float:
        """z^2 / 2."""
        return self.z * self.z / 2


class Verdict(StrEnum):
    """What is said of a change."""

    CONFIRMED = "confirmed"
    SUSPECT = "suspect"
    RULED_OUT = "ruled_out"
    POSSIBLE = "possible"  # neither suspect nor ruled out


@dataclass(frozen=True, slots=True)
class ChangeVerdict:
    """What speaks for and against one change, in nats by term, and in sentences."""

    change: ConfigChange
    probability: float
    verdict: Verdict
    reasons: tuple[str, ...]
    terms: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Attribution:
    """Which change did it. `answer` is a change id, "none" (no change did this) or "inconclusive"."""

    answer: str
    verdicts: tuple[ChangeVerdict, ...]  # most probable first
    none_probability: float
    none_reasons: tuple[str, ...] = ()


class Cause(NamedTuple):
    """One candidate of the ranking."""

    service: str
    score: float
    probability: float
    families: tuple[tuple[str, float], ...]  # family, Z; loudest first


class CausalEdge(NamedTuple):
    """source may have caused target."""

    source: str
    target: str
    reason: str
    weight: float


@dataclass(frozen=True, slots=True)
class CausalNode:
    """A change, a metric, a span operation or a log template of the causal graph."""

    id: str
    kind: str  # change, metric, trace, log, service
    service: str
    title: str
    score: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What broke, why, how sure, and which changes were innocent. Equal inputs give equal findings."""

    start_ns: int
    end_ns: int
    onset_ns: int
    causes: tuple[Cause, ...]  # most probable first; equal scores share a rank
    confidence: float  # probability that the first cause is right
    verdict: str  # confirmed, likely, inconclusive
    cause_type: str  # change, load, infrastructure, dependency, code, resource, unknown
    affected: tuple[str, ...]
    evidence: tuple[Evidence, ...]  # strongest first
    attribution: Attribution
    nodes: tuple[CausalNode, ...] = ()
    edges: tuple[CausalEdge, ...] = ()
    chain: tuple[str, ...] = ()  # from the cause to what users see, in sentences
    stability: tuple[str, ...] = ()  # what the answer would be without its strongest pieces
    scope: str = "service"  # instance, service, namespace, zone, infrastructure
    title: str = ""
    action: str = ""

    @property
    def root(self) -> str:
        """The first cause's service; "" when there is none."""
        return self.causes[0].service if self.causes else ""


class IncidentState(StrEnum):
    """Life of an incident."""

    OPEN = "open"
    UPDATED = "updated"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    MERGED = "merged"


class Severity(StrEnum):
    """From user-visible impact, never from an anomaly score."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as published at `published_ns` (event time). `id` never changes; every change of state is a new value."""

    id: str
    state: IncidentState
    severity: Severity
    environment: str
    opened_ns: int
    onset_ns: int
    updated_ns: int
    published_ns: int
    finding: Finding
    resolved_ns: int | None = None
    merged_into: str = ""
    acknowledged: bool = False
    page: bool = False  # leaves for people, not only for the record
    moved: bool = False  # the onset moved to another place in this publication
    history: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What arrives from a service, and how far learning is."""

    service: str
    spans: int
    logs: int
    points: int
    first_seen_ns: int
    last_seen_ns: int
    learning_ratio: float  # 0 ... 1
    version: str
    hints: tuple[str, ...] = ()


class TopologyEdge(NamedTuple):
    """caller calls callee."""

    caller: str
    callee: str
    kind: PeerKind
    calls: float
    errors: float
    seconds: float  # sum of durations


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the sinks and the API read; replaced whole, never changed."""

    watermark_ns: int = 0
    incidents: tuple[Incident, ...] = ()  # active ones, oldest first
    services: tuple[ServiceStatus, ...] = ()
    edges: tuple[TopologyEdge, ...] = ()
    scores: tuple[tuple[str, str, float], ...] = ()  # service, signal family, nats of the last window
    counters: tuple[tuple[str, tuple[tuple[str, str], ...], float], ...] = ()  # metric name, labels, value
    dropped: tuple[tuple[str, str, float], ...] = field(default=())  # what, reason, count


@dataclass(frozen=True, slots=True)
class Window:
    """All items with time < end_ns that no earlier window had, sorted by (time, service, ids). Late ones keep their own time."""

    start_ns: int
    end_ns: int
    spans: SpanColumns
    logs: LogColumns
    points: PointColumns
    links: LinkColumns
    changes: tuple[ConfigChange, ...] = ()
    bounds: tuple[F64, ...] = ()
