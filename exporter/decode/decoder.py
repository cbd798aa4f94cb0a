"""Which decoder of OTLP/protobuf is in use: the compiled walker where it was built, else the plain one, which says so loudly."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Literal, Protocol

from engine.records import Batch, ChangeType
from engine.strings import Resources, StringTable
from exporter.decode import protobuf
from exporter.heap import large_apart

log = logging.getLogger("whence.decoder")

How = Literal["auto", "plain"]


class Decoder(Protocol):
    """Exports as OTLP/protobuf to columns. Raises ValueError where the bytes are malformed."""

    def traces(self, raw: bytes) -> Batch:
        """Of an ExportTraceServiceRequest."""
        ...

    def logs(self, raw: bytes) -> Batch:
        """Of an ExportLogsServiceRequest."""
        ...

    def metrics(self, raw: bytes) -> Batch:
        """Of an ExportMetricsServiceRequest."""
        ...


class Plain:
    """By the protobuf classes: some 20 us a span."""

    def __init__(self, strings: StringTable, resources: Resources, event_types: Mapping[str, ChangeType]) -> None:
        self._strings, self._resources, self._event_types = strings, resources, event_types

    def traces(self, raw: bytes) -> Batch:
        """Of an ExportTraceServiceRequest."""
        return protobuf.decode_traces(raw, self._strings, self._resources)

    def logs(self, raw: bytes) -> Batch:
        """Of an ExportLogsServiceRequest."""
        return protobuf.decode_logs(raw, self._strings, self._resources, self._event_types)

    def metrics(self, raw: bytes) -> Batch:
        """Of an ExportMetricsServiceRequest."""
        return protobuf.decode_metrics(raw, self._strings, self._resources)


class Apart:
    """A decoder whose large columns lie apart (`heap.large_apart`), as the arrays do that are made of them."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def traces(self, raw: bytes) -> Batch:
        """Of an ExportTraceServiceRequest."""
        large_apart()
        return self._decoder.traces(raw)

    def logs(self, raw: bytes) -> Batch:
        """Of an ExportLogsServiceRequest."""
        large_apart()
        return self._decoder.logs(raw)

    def metrics(self, raw: bytes) -> Batch:
        """Of an ExportMetricsServiceRequest."""
        large_apart()
        return self._decoder.metrics(raw)


def walker_problem() -> str:
    """Why the compiled walker cannot be used, "" if it can."""
    try:
        importlib.import_module("exporter.decode.walker")
    except ImportError as error:
        return str(error)
    return ""


def in_use(how: How = "auto") -> str:
    """Name of the decoder that `decoder` gives: walker or plain."""
    return "plain" if how == "plain" or walker_problem() else "walker"


def decoder(how: How, strings: StringTable, resources: Resources, event_types: Mapping[str, ChangeType]) -> Decoder:
    """The walker, if it was built and `how` lets it; else the plain decoder, with a warning."""
    problem = "receiver.decoder is plain" if how == "plain" else walker_problem()
    if problem:
        log.warning("the plain protobuf decoder is in use, some 40 times slower than the compiled one: %s", problem)
        return Plain(strings, resources, event_types)
    from exporter.decode.walker import Walker

    return Apart(Walker(strings, resources, event_types))
