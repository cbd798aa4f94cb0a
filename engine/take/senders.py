"""How many items each resource sent, and where among them its first and last stand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine import kernels
from engine.records import I32, I64


class Sent(NamedTuple):
    """By resource, in the order of codes."""

    resource: I64  # [r] codes
    items: I64  # [r]
    first: I64  # [r] position of the first item
    last: I64  # [r] position of the last item


def sent(resource: I32) -> Sent:
    """Counts and ends [r] of resource codes [n], without sorting.

    >>> sent(np.array([5, 2, 5], np.int32))
    Sent(resource=array([2, 5]), items=array([1, 2]), first=array([1, 0]), last=array([1, 2]))
    """
    items = np.bincount(resource)
    codes = np.flatnonzero(items)
    first, last = kernels.bounds(resource, np.arange(len(resource)), len(items))
    return Sent(codes, items[codes], first[codes], last[codes])
