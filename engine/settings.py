"""Every setting of the engine, with its default and unit. The service's settings file is checked against these."""

from __future__ import annotations

from dataclasses import dataclass

from engine.records import MINUTE_NS, SECOND_NS, Family


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of `engine.pipeline.Engine`. Durations in event time."""

    window_ns: int = 10 * SECOND_NS  # windows close, and decisions happen, every this long
    sliding_ns: int = 120 * SECOND_NS  # statistics run over this much, every window
    block_ns: int = 60 * SECOND_NS  # baselines fold blocks of this length
    lateness_ns: int = 10 * SECOND_NS  # watermark = earliest clock less this
    source_silent_ns: int = 30 * SECOND_NS  # received time after which a silent source no longer holds the watermark
    too_late_ns: int = 10 * MINUTE_NS  # items this far behind the watermark are dropped
    waiting_items: int = 3_000_000  # spans, logs and points that wait for their window, some 80 bytes each; then windows close sooner
    ahead_ns: int = 60 * SECOND_NS  # live only: items this far ahead of received time move no clock
    quarantine_ns: int = 10 * MINUTE_NS  # a block is learned this long after it closed, unless an incident covers it
    keep_ns: int = 60 * MINUTE_NS  # windows kept for explaining
    changes_ns: int = 4 * 60 * MINUTE_NS  # changes are looked up this far back
    seed: int = 1  # of everything random
    live: bool = False  # received time is the real clock (serve), not the recording's
    rows: bool = True  # learned rows (embeddings) give evidence
    training_steps: int = 100  # of a row model; 0 leaves its weights untrained
    training_pairs: int = 128  # rows of a training step
    series_rows: int = 8192  # metric series kept; more are dropped and counted
    series_slots: int = 720  # values kept of a series
    series_slot_ns: int = 60 * SECOND_NS  # points of a series closer together than this become one value
    without: tuple[Family, ...] = ()  # families left out of every decision: what a family is worth is measured this way
    explain_away: bool = True  # spans charge a fault to the deepest service that shows it; off: what that is worth
    pass_on: bool = True  # an error that names another service is that one's; off: what that is worth
    utc_offsets: tuple[tuple[int, int], ...] = ()  # (from, ns since 1970; offset, ns), rising: whose days and weeks count; (): UTC
    topology_keep_ns: int = 26 * 60 * MINUTE_NS  # a call edge is forgotten when not seen for this long: a daily job is still an edge
    alert_budget_ns: int = 24 * 60 * MINUTE_NS  # a family of evidence may depart by chance once in this long
    incident_quiet_ns: int = 60 * SECOND_NS  # an incident is resolved when nothing departed for this long
    incident_reopen_ns: int = 30 * MINUTE_NS  # the same place departing again within this is the same incident, reopened
