"""Rings of slots: the recent values of many series, as matrices."""

from __future__ import annotations

import numpy as np

from engine.records import F32, F64, I64

FIRST_SLOTS = 32  # slots a row begins with; doubled while any row needs more


class Rings:
    """Rows of at most `slots` slots, oldest overwritten. A slot is `slot_ns` long at least: empty ones take no room.

    A slot holds the time of its last point, the weighted mean of its points, and the sum of their weights.
    """

    def __init__(self, *, slots: int, slot_ns: int) -> None:
        if slots < 1 or slot_ns < 1:
            raise ValueError(f"slots and slot_ns must be positive, however: {slots=}, {slot_ns=}")
        self.slots, self.slot_ns = slots, slot_ns
        self.time_ns: I64 = np.zeros((0, min(slots, FIRST_SLOTS)), np.int64)  # 0: empty
        self.value: F32 = np.zeros(self.time_ns.shape, np.float32)
        self.weight: F32 = np.zeros(self.time_ns.shape, np.float32)
        self.written: I64 = np.zeros(0, np.int64)  # slots ever begun, by row

    def __len__(self) -> int:
        return len(self.time_ns)

    def reserve(self, rows: int) -> None:
        """Make room for at least so many rows."""
        if rows > len(self.time_ns):
            self._resize(max(rows, 2 * len(self.time_ns), 64), self.time_ns.shape[1])

    def clear(self, row: int) -> None:
        """Empty a row."""
        self.time_ns[row], self.written[row] = 0, 0

    def add(self, row: I64, time_ns: I64, value: F64, weight: F64) -> None:
        """Put points into their slots; those of one slot become their weighted mean. Any order; weights positive.

        Args: row int64 [n], below what was reserved; time_ns int64 [n]; value, weight float64 [n].
        """
        if not len(row):
            return
        slot = time_ns // self.slot_ns
        order = np.lexsort((time_ns, row))
        row, slot, time_ns, value, weight = row[order], slot[order], time_ns[order], value[order], weight[order]
        first = np.flatnonzero(np.concatenate([[True], (row[1:] != row[:-1]) | (slot[1:] != slot[:-1])]))
        last = np.append(first[1:], len(row)) - 1
        total = np.add.reduceat(weight, first)
        mean = np.add.reduceat(weight * value, first) / total
        row, slot, time_ns = row[first], slot[first], time_ns[last]
        # One slot a row and round: the later slots of a row need the earlier ones.
        start_of_row = np.flatnonzero(np.concatenate([[True], row[1:] != row[:-1]]))
        place = np.arange(len(row)) - np.repeat(start_of_row, np.diff(np.append(start_of_row, len(row))))
        for turn in range(int(place.max()) + 1):
            now = place == turn
            self._add_distinct(row[now], slot[now], time_ns[now], mean[now], total[now])

    def _add_distinct(self, row: I64, slot: I64, time_ns: I64, mean: F64, weight: F64) -> None:
        columns = self.time_ns.shape[1]
        if columns < self.slots and int(self.written[row].max()) >= columns:
            columns = min(self.slots, 2 * columns)
            self._resize(len(self.time_ns), columns)
        at = (self.written[row] - 1) % columns
        newest = np.where(self.written[row] > 0, self.time_ns[row, at] // self.slot_ns, -1)
        later, same = slot > newest, slot == newest
        fresh = row[later]
        at_fresh = self.written[fresh] % columns
        self.time_ns[fresh, at_fresh], self.value[fresh, at_fresh], self.weight[fresh, at_fresh] = (
            time_ns[later],
            mean[later],
            weight[later],
        )
        self.written[fresh] += 1
        self._merge(row[same], at[same], time_ns[same], mean[same], weight[same])
        for number in np.flatnonzero(~later & ~same):
            self._insert(int(row[number]), int(slot[number]), int(time_ns[number]), float(mean[number]), float(weight[number]))

    def _merge(self, row: I64, at: I64, time_ns: I64, mean: F64, weight: F64) -> None:
        before = self.weight[row, at].astype(np.float64)
        total = before + weight
        self.value[row, at] = (before * self.value[row, at] + weight * mean) / total
        self.weight[row, at] = total
        self.time_ns[row, at] = np.maximum(self.time_ns[row, at], time_ns)

    def _insert(self, row: int, slot: int, time_ns: int, mean: float, weight: float) -> None:
        """A late point: into its slot, or as a slot between two others."""
        columns = self.time_ns.shape[1]
        count = min(int(self.written[row]), columns)
        order = (int(self.written[row]) - count + np.arange(count)) % columns  # oldest first
        slots = self.time_ns[row, order] // self.slot_ns
        at = int(np.searchsorted(slots, slot))
        if at < count and slots[at] == slot:
            here = np.array([order[at]])
            self._merge(np.array([row]), here, np.array([time_ns]), np.array([mean]), np.array([weight]))
            return
        if at == 0 and count == columns:
            return  # older than everything a full ring keeps
        kept = order if count < columns else order[1:]
        at -= len(order) - len(kept)
        written = int(self.written[row])
        for matrix, new in ((self.time_ns, time_ns), (self.value, mean), (self.weight, weight)):
            values = np.insert(matrix[row, kept], at, new)
            matrix[row, (written + 1 - len(values) + np.arange(len(values))) % columns] = values
        self.written[row] += 1

    def between(self, rows: I64, start_ns: int, end_ns: int) -> tuple[I64, I64, F64, F64]:
        """Slots of the rows with start_ns <= time < end_ns, by row as asked for, oldest first.

        Returns: position in `rows` int64 [n], time_ns int64 [n], value float64 [n], weight float64 [n].
        """
        columns = self.time_ns.shape[1]
        if not len(rows) or not columns:
            return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
        written = self.written[rows]
        newest = int(self.time_ns[rows, (written - 1) % columns].max())
        # Slots of a row differ: no more of them can lie behind start_ns.
        most = max(1, min(columns, (newest - max(start_ns, 0)) // self.slot_ns + 2))
        place = (written[:, None] - most + np.arange(most)) % columns  # oldest first; before a row's first slot: an empty one
        time = self.time_ns[rows[:, None], place]
        at, number = np.nonzero((time >= max(start_ns, 1)) & (time < end_ns))
        row, column = rows[at], place[at, number]
        return at, time[at, number], self.value[row, column].astype(np.float64), self.weight[row, column].astype(np.float64)

    def _resize(self, rows: int, columns: int) -> None:
        old_rows, old_columns = self.time_ns.shape
        for name in ("time_ns", "value", "weight"):
            old = getattr(self, name)
            new = np.zeros((rows, columns), old.dtype)
            # Rows are never wrapped before the last size: a full row continues behind its end.
            new[:old_rows, :old_columns] = old
            setattr(self, name, new)
        written = np.zeros(rows, np.int64)
        written[:old_rows] = self.written
        self.written = written

    def restore(self, time_ns: I64, value: F32, weight: F32, written: I64) -> None:
        """Go on from matrices of an earlier run (the slots in use)."""
        self.time_ns, self.value, self.weight = time_ns.astype(np.int64), value.astype(np.float32), weight.astype(np.float32)
        self.written = written.astype(np.int64)
