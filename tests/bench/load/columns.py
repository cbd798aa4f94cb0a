"""The same traffic as columns, without decoding each request: for measuring what comes behind the decoder."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.records import Batch, SpanKind
from engine.strings import Resources, Strings
from exporter.decode.protobuf import decode_traces
from tests.bench.load.spans import SpanTraffic


class Columns:
    """Batches of a traffic's requests, equal to what the decoder makes of them."""

    def __init__(self, traffic: SpanTraffic, strings: Strings, resources: Resources) -> None:
        self.traffic, self.strings = traffic, strings
        self._decoded = decode_traces(traffic.request(0), strings, resources)
        self._calls = np.array([traffic.nodes[at].kind == SpanKind.CLIENT for at in traffic.odd], bool)

    def batch(self, number: int) -> Batch:
        """Columns of request `number`."""
        traffic, stamps, spans = self.traffic, self.traffic.stamps(number), self._decoded.spans
        assert spans is not None
        intern = self.strings.intern
        error_type, peer = spans.error_type.copy(), spans.peer.copy()
        error_type[traffic.odd] = [intern("value", f"java.lang.E{error:04d}") for error in stamps.error.tolist()]
        for at, host in zip(traffic.odd[self._calls].tolist(), stamps.host[self._calls].tolist(), strict=True):
            node = traffic.nodes[at]
            if not node.database:  # a database is named by its namespace
                peer[at] = intern("value", f"10.{100 + node.peer // 100}.{100 + node.peer % 100}.{100 + host}")
        links = self._decoded.links
        if links is not None:
            trace = stamps.trace[links.row].byteswap()
            links = replace(links, trace_hi=trace[:, 0], trace_lo=trace[:, 1], span=stamps.parent[links.row].byteswap())
        spans = replace(
            spans,
            time_ns=stamps.end_ns,
            start_ns=stamps.start_ns,
            trace_hi=stamps.trace[:, 0].byteswap(),
            trace_lo=stamps.trace[:, 1].byteswap(),
            span=stamps.span.byteswap(),
            parent=stamps.parent.byteswap(),
            error_type=error_type,
            peer=peer,
        )
        return replace(self._decoded, spans=spans, links=links)
