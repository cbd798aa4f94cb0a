"""Sends requests over gRPC as bytes, over more than one connection, each several at a time; a refused request is sent again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

BUSY_SECONDS = 0.25  # a Collector waits 5 s and longer; refused requests cost the server work, so they are counted
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
)


@dataclass
class Sent:
    """What came of it."""

    requests: int = 0
    items: int = 0
    refused: int = 0  # requests that were sent again
    failed: str = ""
    seconds: float = 0.0


class Sender:
    """Connections to one server."""

    def __init__(
        self,
        target: str,
        method: str,
        *,
        connections: int = 2,
        gzip: bool = False,
        at_a_time: int = 2,
        took: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """`took` is told how many seconds each request was under way until it was answered, refusals included."""
        self._channels = [grpc.insecure_channel(target, options=list(OPTIONS)) for _ in range(connections)]
        self._calls: list[Any] = [channel.unary_unary(method) for channel in self._channels]
        self._compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
        self._at_a_time, self._took = at_a_time, took

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        for channel in self._channels:
            channel.close()

    def send(self, numbers: Iterable[int], request: Callable[[int], bytes], items: int, *, a_second: float = 0.0) -> Sent:
        """Send `request(number)` for each number; `a_second` requests in a second at most, 0: as fast as they are taken."""
        result, lock, began = Sent(), threading.Lock(), time.monotonic()
        waiting: Iterator[tuple[int, int]] = enumerate(numbers)

        def work(call: Any) -> None:
            while not result.failed:
                with lock:
                    at, number = next(waiting, (-1, -1))
                if at < 0:
                    return
                raw = request(number)
                if a_second and (early := began + at / a_second - time.monotonic()) > 0:
                    time.sleep(early)
                started = time.monotonic()
                refused = self._sent(call, raw, result)
                self._took(time.monotonic() - started)
                with lock:
                    result.requests += 1
                    result.items += items
                    result.refused += refused

        threads = [threading.Thread(target=work, args=(call,)) for call in self._calls for _ in range(self._at_a_time)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if result.failed:
            raise RuntimeError(f"send: {result.failed}")
        result.seconds = time.monotonic() - began
        return result

    def _sent(self, call: Any, raw: bytes, result: Sent) -> int:
        """How often it was refused before it was taken."""
        for times in range(1200):
            try:
                call(raw, timeout=60, compression=self._compression, wait_for_ready=True)
                return times
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    result.failed = f"{error.code()}: {error.details()}"
                    return times
                time.sleep(BUSY_SECONDS)
        result.failed = "refused for five minutes"
        return 0
