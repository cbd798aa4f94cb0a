"""Why an item of an export is in no column: a fixed set, counted, and told to the sender where it is the sender's to mend."""

from __future__ import annotations

from enum import StrEnum


class Drop(StrEnum):
    """Why an item of an export is in no column."""

    OWN = "own_telemetry"  # whence's own
    NO_TIME = "no_time"  # time 0, or a span that ends before it starts
    NO_ID = "no_id"  # a span whose trace or span id is all zeros
    SHAPE = "shape"  # a histogram or summary whose parts do not fit together


#: Reasons that the sender is told of as rejected: the item is unusable.
REJECTED = (Drop.NO_TIME, Drop.NO_ID, Drop.SHAPE)
