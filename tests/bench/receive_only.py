"""whence's receiver with nothing behind it: gRPC, inflating and decoding as in `serve`, then the columns are dropped.

python -m tests.bench.receive_only
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from engine.records import Batch
from engine.strings import Resources, Strings
from exporter.heap import keep_heap
from exporter.receiver.counters import Counters
from exporter.receiver.desk import Desk
from exporter.receiver.grpc import GrpcReceiver
from exporter.receiver.settings import MIB, DeskSettings, GrpcSettings
from exporter.sections import Receiver


class Drops:
    """An intake that is done with a batch at once."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes, self.held_bytes = limit_bytes, 0
        self._lock = threading.Lock()

    def reserve(self, size_bytes: int) -> bool:
        """Room, as in exporter.intake."""
        with self._lock:
            if self.held_bytes and self.held_bytes + size_bytes > self.limit_bytes:
                return False
            self.held_bytes += size_bytes
            return True

    def release(self, size_bytes: int) -> None:
        """Give room back."""
        with self._lock:
            self.held_bytes -= size_bytes

    def put(self, batch: Batch, size_bytes: int) -> Sequence[str]:
        """Drop the columns."""
        self.release(size_bytes)
        return ()


def main() -> None:
    """Serve until standard input ends; prints the port."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    keep_heap()
    defaults = Receiver()
    desk = Desk(
        Drops(defaults.in_flight_mib * MIB),
        strings=Strings(),
        resources=Resources(),
        settings=DeskSettings(max_message_bytes=defaults.max_message_mib * MIB),
        counters=Counters(CollectorRegistry()),
        clock_ns=time.time_ns,
    )
    receiver = GrpcReceiver(desk, settings=GrpcSettings("127.0.0.1:0", workers=defaults.grpc.workers))
    receiver.start()
    print(f"listening {receiver.port}", flush=True)
    sys.stdin.read()
    receiver.stop(1.0)


if __name__ == "__main__":
    main()
