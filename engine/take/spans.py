"""The assembler: spans and their log records wait here until their trace is complete."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from engine import kernels
from engine.records import I32, I64, SECOND_NS, SEVERITY_ERROR, Bool, LogColumns, Window
from engine.strings import Resources, Strings
from engine.take.columns import TreeColumns, concat, empty, gather, laid, select
from engine.take.joined import Joined, join, sampled
from engine.take.templates import WILDCARD, Templates

QUIET_NS = 5 * SECOND_NS  # a trace leaves so long after its last item
LONGEST_NS = 30 * SECOND_NS  # or so long after its first
BUDGET = 500_000  # spans, and log records, that wait at most
PREVIEWED = 65_536  # spans of a preview at most, by a sample of traces: 5 s of 13,000 spans a second
LOWEST_SHARE = 1e-4
MOST_TEXTS = 65536  # whose mentions are remembered
NUMBER = re.compile(r"\d+")


class ServiceCodes:
    """Service code of each resource, growing with the table."""

    def __init__(self, strings: Strings, resources: Resources) -> None:
        self._strings = strings
        self._resources = resources
        self._codes = np.zeros(0, np.int32)

    def array(self) -> I32:
        """int32 [resources]; 0 where the sender named no service."""
        known = len(self._codes)
        if known < len(self._resources):
            new = [self._strings.intern("service", self._resources[code].service) for code in range(known, len(self._resources))]
            self._codes = np.concatenate([self._codes, np.array(new, np.int32)])
        return self._codes


class Mentions:
    """Which known services a text names. Numbers in names count as equal: folded texts have lost them."""

    def __init__(self, strings: Strings) -> None:
        self._strings = strings
        self._known = 0
        self._pattern: re.Pattern[str] | None = None
        self._found: dict[tuple[int, int], frozenset[str]] = {}

    def foreign(self, logs: LogColumns, service: I32) -> Bool:
        """Records of severity ERROR that name a service other than their own, bool [l]. A name must stand alone in the text."""
        result = np.zeros(len(service), bool)
        rows = np.flatnonzero(logs.severity >= SEVERITY_ERROR)
        if not len(rows):
            return result
        self._learn()
        own = {code: short_name(self._strings.text("service", code)) for code in np.unique(service[rows]).tolist()}
        texts = zip(logs.template[rows].tolist(), logs.exception[rows].tolist(), strict=True)
        for row, key, code in zip(rows.tolist(), texts, service[rows].tolist(), strict=True):
            found = self._found.get(key)
            if found is None:
                if len(self._found) >= MOST_TEXTS:
                    self._found.clear()
                found = self._found[key] = self._names(self._strings.text("template", key[0]) + "\n" + self._strings.text("text", key[1]))
            result[row] = bool(found - {own[code]})
        return result

    def _names(self, text: str) -> frozenset[str]:
        return frozenset(self._pattern.findall(NUMBER.sub(WILDCARD, text))) if self._pattern else frozenset()

    def _learn(self) -> None:
        count = self._strings.size("service")
        if count != self._known:
            names = {short_name(self._strings.text("service", code)) for code in range(1, count)} - {""}
            alternatives = "|".join(re.escape(name) for name in sorted(names, key=lambda name: (-len(name), name)))
            self._pattern = re.compile(rf"(?<![\w-])({alternatives})(?![\w-])") if names else None
            self._known = count
            self._found.clear()


def short_name(service: str) -> str:
    """Name without namespace, numbers as wildcards: how texts speak of it.

    >>> short_name("shop/cart2")
    'cart<*>'
    """
    return NUMBER.sub(WILDCARD, service.rpartition("/")[2])


class Assembler:
    """Spans and log records with a trace id, by trace. State is bounded: over budget it keeps a consistent sample of traces."""

    def __init__(self, strings: Strings, resources: Resources, templates: Templates, *, budget: int = BUDGET) -> None:
        if budget < 1:
            raise ValueError(f"budget must be positive, however: {budget=}")
        self.budget = budget
        self.share = 1.0  # of traces that are kept now
        self.counts: Counter[str] = Counter()  # spans_sampled_out, logs_sampled_out, logs_without_span, orphans
        self.services = ServiceCodes(strings, resources)
        self._templates = templates
        self._mentions = Mentions(strings)
        self._spans = empty(TreeColumns)
        self._logs = empty(LogColumns)

    @property
    def waiting(self) -> int:
        """Spans that wait for the rest of their trace."""
        return len(self._spans.time_ns)

    @property
    def busy(self) -> bool:
        """Whether spans or records wait."""
        return len(self._spans.time_ns) > 0 or len(self._logs.time_ns) > 0

    def take(self, window: Window) -> Joined:
        """Add a window's items and give out the traces that are complete at its end."""
        spans, logs = self._parts(window)
        of_spans, of_logs, count = _traces(spans, logs)
        times = np.concatenate([laid(spans, "time_ns"), laid(logs, "time_ns")])
        first, last = kernels.bounds(np.concatenate([of_spans, of_logs]), times, count)
        leaves = (last <= window.end_ns - QUIET_NS) | (first <= window.end_ns - LONGEST_NS)
        leaving, log_leaves = leaves.take(of_spans), leaves.take(of_logs)
        go = np.flatnonzero(leaving)
        of, order = _by_trace(of_spans.take(go), count)
        self._spans, going = gather(spans, TreeColumns, np.flatnonzero(~leaving), go.take(order))
        self._logs, log_going = gather(logs, LogColumns, np.flatnonzero(~log_leaves), np.flatnonzero(log_leaves))
        del spans, logs  # they must be gone before those that leave are joined
        self._shrink()
        joined = self._join(going, of, log_going, complete=True, share=self.share)
        self.counts["logs_without_span"] += int((joined.log_span < 0).sum())
        self.counts["orphans"] += int((joined.root & (joined.spans.parent != 0)).sum())
        return joined

    def preview(self, window: Window | None = None, *, most: int = PREVIEWED) -> Joined:
        """What waits, and a window that was not taken yet, joined as far as it is here. Changes nothing.

        Of more than `most` spans a sample of traces, by the same hash as over budget: they will be here whole when they are complete.
        """
        spans, logs = ([self._spans], [self._logs]) if window is None else self._parts(window, counted=False)
        share, waiting = self.share, sum(len(part.time_ns) for part in spans)
        if waiting > most:
            share *= most / waiting
            spans = [select(part, sampled(part.trace_hi, part.trace_lo, share)) for part in spans]
            logs = [select(part, sampled(part.trace_hi, part.trace_lo, share)) for part in logs]
        of_spans, _, count = _traces(spans, logs)
        of, order = _by_trace(of_spans, count)
        return self._join(gather(spans, TreeColumns, order)[0], of, concat(logs, LogColumns), complete=False, share=share)

    def _parts(self, window: Window, *, counted: bool = True) -> tuple[list[TreeColumns], list[LogColumns]]:
        """What waits, and those of a window that are kept."""
        spans, logs = TreeColumns.of(window.spans), window.logs
        if len(logs.time_ns):
            logs = select(logs, (logs.trace_hi | logs.trace_lo) != 0)
        if self.share < 1:
            kept_spans, kept_logs = (sampled(part.trace_hi, part.trace_lo, self.share) for part in (spans, logs))
            if counted:
                self.counts["spans_sampled_out"] += int((~kept_spans).sum())
                self.counts["logs_sampled_out"] += int((~kept_logs).sum())
            spans, logs = select(spans, kept_spans), select(logs, kept_logs)
        return [self._spans, spans], [self._logs, logs]

    def _shrink(self) -> None:
        """Over budget: halve the share until it fits. Under half of it: let the share rise again, slowly."""
        waiting = max(len(self._spans.time_ns), len(self._logs.time_ns))
        if waiting <= self.budget // 2:
            self.share = min(1.0, self.share * 1.25)
        while max(len(self._spans.time_ns), len(self._logs.time_ns)) > self.budget and self.share > LOWEST_SHARE:
            self.share /= 2
            spans, logs = (sampled(part.trace_hi, part.trace_lo, self.share) for part in (self._spans, self._logs))
            self.counts["spans_sampled_out"] += int((~spans).sum())
            self.counts["logs_sampled_out"] += int((~logs).sum())
            self._spans, self._logs = select(self._spans, spans), select(self._logs, logs)
        spans_over, logs_over = len(self._spans.time_ns) - self.budget, len(self._logs.time_ns) - self.budget
        if spans_over > 0 or logs_over > 0:  # a few giant traces: no sample of traces fits
            self.counts["spans_sampled_out"] += max(0, spans_over)
            self.counts["logs_sampled_out"] += max(0, logs_over)
            self._spans = select(self._spans, np.arange(max(0, spans_over), len(self._spans.time_ns)))
            self._logs = select(self._logs, np.arange(max(0, logs_over), len(self._logs.time_ns)))

    def _join(self, spans: TreeColumns, of: I32, logs: LogColumns, *, complete: bool, share: float) -> Joined:
        """Join spans by trace, `of` the traces that each is of, and log records; `share`: of all traces."""
        service_of = self.services.array()
        return join(
            spans,
            logs,
            of,
            service_of=service_of,
            log_template=self._templates.of(logs.template),
            foreign=self._mentions.foreign(logs, service_of[logs.resource]),
            complete=complete,
            share=share,
        )


def _traces(spans: Sequence[TreeColumns], logs: Sequence[LogColumns]) -> tuple[I32, I32, int]:
    """Number of the trace of each span, of each record, and how many traces there are."""
    keys = [kernels.mixed(laid(parts, "trace_hi"), laid(parts, "trace_lo")) for parts in (spans, logs)]
    of, first = kernels.group(np.concatenate(keys) if len(keys[1]) else keys[0])
    return of[: len(keys[0])], of[len(keys[0]) :], len(first)


def _by_trace(of: I32, count: int) -> tuple[I32, I64]:
    """Traces of spans in order, and the rows of the spans in it."""
    order = kernels.by_group(of, count)
    return of.take(order), order
