"""Spans and log records to columns: what both decoders fill, one row an item, and what both check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine.records import (
    SEVERITY_ERROR,
    U64,
    Batch,
    ConfigChange,
    LinkColumns,
    LogColumns,
    SpanColumns,
    SpanKind,
    Status,
)
from engine.strings import StringTable
from exporter.decode.drops import Drop
from exporter.decode.fold import LONGEST_BYTES, LONGEST_ERROR_BYTES, fold, fold_statement
from exporter.decode.meaning import (
    ERROR_MESSAGE,
    EVENT_NAME,
    STATEMENT,
    error_type_of,
    exception_text,
    log_peer_of,
    peer_of,
    place_of,
    weight_of,
)
from exporter.decode.points import PointRows
from exporter.decode.resource import first

TIME_END = 1 << 63
TRACE_ID_BYTES = 16
SPAN_ID_BYTES = 8
NO_TRACE = bytes(TRACE_ID_BYTES)
NO_SPAN = bytes(SPAN_ID_BYTES)
SEVERITY_LAST = 24
#: OTLP names of severities for senders that set the text only; SeverityNumber of the range's start.
SEVERITY_TEXTS = {
    **dict.fromkeys(("TRACE", "VERBOSE", "FINEST"), 1),
    **dict.fromkeys(("DEBUG", "FINE", "FINER"), 5),
    **dict.fromkeys(("INFO", "INFORMATION", "INFORMATIONAL", "NOTICE"), 9),
    **dict.fromkeys(("WARN", "WARNING"), 13),
    **dict.fromkeys(("ERROR", "ERR", "SEVERE"), 17),
    **dict.fromkeys(("FATAL", "CRITICAL", "CRIT", "ALERT", "EMERG", "EMERGENCY", "PANIC"), 21),
}


class SpanRows:
    """Spans and links of one export."""

    def __init__(self, strings: StringTable, dropped: Counter[str]) -> None:
        self.strings = strings
        self.dropped = dropped
        self.rows: list[tuple[int | float, ...]] = []
        self.ids: list[bytes] = []  # trace, span, parent
        self.link_rows: list[int] = []
        self.link_ids: list[bytes] = []
        self.meanings: dict[tuple[int, tuple[tuple[str, str], ...]], tuple[int, int, int, int, int]] = {}

    def add(
        self,
        resource: int,
        ids: tuple[bytes, bytes, bytes],
        name: str,
        kind: int,
        times_ns: tuple[int, int],
        found: dict[str, str],
        status: int,
        message: str,
        trace_state: str,
    ) -> bool:
        """Take a span, unless it is unusable: then it is counted."""
        trace_id, span_id, _ = ids
        start_ns, end_ns = times_ns
        if trace_id == NO_TRACE or span_id == NO_SPAN:
            self.dropped[Drop.NO_ID] += 1
            return False
        if not 0 < start_ns <= end_ns:
            self.dropped[Drop.NO_TIME] += 1
            return False
        if not 0 <= kind <= SpanKind.CONSUMER:
            kind = SpanKind.UNSPECIFIED
        peer = peer_kind = error_type = error_message = statement = 0
        if found:
            key = kind, tuple(found.items())
            meaning = self.meanings.get(key)
            if meaning is None:
                meaning = self.meanings[key] = self.meaning(found, kind)
            peer, peer_kind, error_type, error_message, statement = meaning
        intern = self.strings.intern
        self.rows.append(
            (
                end_ns,
                resource,
                start_ns,
                intern("operation", name),
                kind,
                status if 0 <= status <= Status.ERROR else Status.UNSET,
                peer,
                peer_kind,
                error_type,
                intern("template", fold(message)) if message else error_message,
                statement,
                weight_of(trace_state) if trace_state else 1.0,
            )
        )
        self.ids += ids
        return True

    def meaning(self, found: dict[str, str], kind: int) -> tuple[int, int, int, int, int]:
        """Codes of peer, peer kind, error type, error message and statement."""
        peer, peer_kind = peer_of(found, kind)
        intern = self.strings.intern
        return (
            intern("value", peer),
            peer_kind,
            intern("value", error_type_of(found, kind)),
            intern("template", fold(first(found, ERROR_MESSAGE))),
            intern("template", fold_statement(first(found, STATEMENT))),
        )

    def link(self, trace_id: bytes, span_id: bytes) -> None:
        """A link of the span that was added last."""
        if trace_id != NO_TRACE and span_id != NO_SPAN:
            self.link_rows.append(len(self.rows) - 1)
            self.link_ids += (trace_id, span_id)

    def columns(self) -> SpanColumns | None:
        """The spans, None for none."""
        if not self.rows:
            return None
        words = id_words(self.ids).reshape(-1, 4)
        end, resource, start, operation, kind, status, peer, peer_kind, error, message, statement, weight = zip(*self.rows, strict=True)
        return SpanColumns(
            time_ns=np.array(end, np.int64),
            resource=np.array(resource, np.int32),
            trace_hi=words[:, 0].copy(),
            trace_lo=words[:, 1].copy(),
            span=words[:, 2].copy(),
            parent=words[:, 3].copy(),
            start_ns=np.array(start, np.int64),
            operation=np.array(operation, np.int32),
            kind=np.array(kind, np.uint8),
            status=np.array(status, np.uint8),
            peer=np.array(peer, np.int32),
            peer_kind=np.array(peer_kind, np.uint8),
            error_type=np.array(error, np.int32),
            message=np.array(message, np.int32),
            statement=np.array(statement, np.int32),
            weight=np.array(weight, np.float32),
        )

    def links(self) -> LinkColumns | None:
        """The links, None for none."""
        if not self.link_rows:
            return None
        words = id_words(self.link_ids).reshape(-1, 3)
        return LinkColumns(np.array(self.link_rows, np.int64), words[:, 0].copy(), words[:, 1].copy(), words[:, 2].copy())


class LogRows:
    """Log records of one export."""

    def __init__(self, strings: StringTable, dropped: Counter[str]) -> None:
        self.strings = strings
        self.dropped = dropped
        self.rows: list[tuple[int, ...]] = []
        self.ids: list[bytes] = []  # trace, span

    def add(
        self,
        resource: int,
        time_ns: int,
        ids: tuple[bytes, bytes],
        severity: int,
        level: str,
        body: str,
        event_name: str,
        found: dict[str, str],
    ) -> bool:
        """Take a record, unless it has no time: then it is counted."""
        if time_ns <= 0:
            self.dropped[Drop.NO_TIME] += 1
            return False
        if not 0 < severity <= SEVERITY_LAST:
            severity = SEVERITY_TEXTS.get(level.strip().upper(), 0) if level else 0
        intern = self.strings.intern
        template = fold(body, LONGEST_ERROR_BYTES if severity >= SEVERITY_ERROR else LONGEST_BYTES)
        exception = peer = statement = 0
        if found:
            place = place_of(found)
            if place and place not in template:
                template = f"{place} {template}"
            exception = intern("text", exception_text(found))
            peer = intern("value", log_peer_of(found))
            statement = intern("template", fold_statement(first(found, STATEMENT)))
            event_name = event_name or first(found, EVENT_NAME)
        event = intern("value", event_name) if event_name else 0
        self.rows.append((time_ns, resource, severity, intern("template", template), exception, event, peer, statement))
        self.ids += ids
        return True

    def columns(self) -> LogColumns | None:
        """The records, None for none."""
        if not self.rows:
            return None
        words = id_words(self.ids).reshape(-1, 3)
        time, resource, severity, template, exception, event_name, peer, statement = zip(*self.rows, strict=True)
        return LogColumns(
            time_ns=np.array(time, np.int64),
            resource=np.array(resource, np.int32),
            trace_hi=words[:, 0].copy(),
            trace_lo=words[:, 1].copy(),
            span=words[:, 2].copy(),
            severity=np.array(severity, np.uint8),
            template=np.array(template, np.int32),
            exception=np.array(exception, np.int32),
            event_name=np.array(event_name, np.int32),
            peer=np.array(peer, np.int32),
            statement=np.array(statement, np.int32),
        )


class Rows:
    """Everything of one export, on its way to a Batch."""

    def __init__(self, strings: StringTable) -> None:
        self.dropped: Counter[str] = Counter()
        self.spans = SpanRows(strings, self.dropped)
        self.logs = LogRows(strings, self.dropped)
        self.points = PointRows(strings, self.dropped)
        self.changes: list[ConfigChange] = []

    def batch(self) -> Batch:
        """The columns. Raises OverflowError where a number does not fit its column."""
        return Batch(
            spans=self.spans.columns(),
            logs=self.logs.columns(),
            points=self.points.columns(),
            links=self.spans.links(),
            changes=tuple(self.changes),
            bounds=self.points.all_bounds(),
            dropped=tuple(sorted((str(reason), count) for reason, count in self.dropped.items() if count)),
        )


def id_words(ids: Sequence[bytes]) -> U64:
    """Ids as 64-bit words, two a trace id, one a span id."""
    return np.frombuffer(b"".join(ids), ">u8").astype(np.uint64)
