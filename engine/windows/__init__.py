"""What happened: joined spans of the recent past in columns, and sums of what they did."""

from engine.windows.codes import EDGE, ENTRY, EVENT_BITS, ROOT, SELF, SLOT_EVENT, SPAN_EVENT, Codes, Interner
from engine.windows.spans import Spans, Sums
from engine.windows.sums import NO_VALUES, NONE, Tally, Values
from engine.windows.view import Part, Ring, View, view

__all__ = [
    "EDGE",
    "ENTRY",
    "EVENT_BITS",
    "NONE",
    "NO_VALUES",
    "ROOT",
    "SELF",
    "SLOT_EVENT",
    "SPAN_EVENT",
    "Codes",
    "Interner",
    "Part",
    "Ring",
    "Spans",
    "Sums",
    "Tally",
    "Values",
    "View",
    "view",
]
