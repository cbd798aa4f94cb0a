"""How long an export takes to be received, while nothing else runs and while a model is trained.

    python -m tests.bench.receive_latency [--rounds 5] [--seconds 5] [--rate 50]

Small exports go over gRPC at a steady rate into a `whence serve` of its own. Idle and training windows take turns, so that what else
the machine does falls on both; the answer is the median of the windows' 99 % quantiles. Exit status 1 where training more than doubles
it. A bench and no test: on two cores with other work on them a single window's 99 % quantile moves by a factor of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import orjson

from engine.normal.learn import TrainingJob
from exporter.otlp import request_of
from exporter.trainer import NICENESS, Trainer
from tests.otlp_values import spans
from tests.rows_world import jobs
from tests.serving import Serving, settings

LIMIT = 2.0
STEPS = 1_000_000  # a training that lasts longer than a window
FIELD_NICE = 16  # of /proc/PID/stat, counted behind the name
SPANS = 20


def niceness(pid: int) -> int:
    """Of a process, from /proc."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[FIELD_NICE])


def busy_seconds(pid: int) -> float:
    """Processor time that a process took so far, from /proc."""
    values = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(values[11]) + int(values[12])) / 100


@contextlib.contextmanager
def training(folder: Path, job: TrainingJob) -> Iterator[int]:
    """A training under way in its process, niced and past its start; ended with the block. Yields its process id."""
    trainer = Trainer(folder, timeout_seconds=600.0)
    trainer.start(job, time.monotonic())
    try:
        pid = trainer.pid
        assert pid is not None
        while niceness(pid) < NICENESS or busy_seconds(pid) < 3.0:
            time.sleep(0.05)
        yield pid
    finally:
        trainer.stop()


def window(export: Any, seconds: float, rate: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Milliseconds that each export of a window took; exports are due every 1 / rate seconds."""
    took, began = [], time.monotonic()
    for at in range(int(seconds * rate)):
        if (wait := began + at / rate - time.monotonic()) > 0:
            time.sleep(wait)
        _, request = request_of(orjson.dumps(spans("cart", time.time_ns(), SPANS)))
        sent = time.perf_counter()
        export(request, timeout=30)
        took.append(1000 * (time.perf_counter() - sent))
    return np.array(took)


def main() -> int:
    """Measure and print; exit status 1 where the limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=50.0)
    args = parser.parse_args()
    job = replace(jobs(steps=3)["traces"], steps=STEPS)
    p99: dict[str, list[float]] = {"idle": [], "training": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = settings(folder)
        file.write_text(file.read_text() + "trainer: {enabled: false}\nsinks: {log: {enabled: false}}\n")  # trainings are started here
        with Serving(file) as whence, grpc.insecure_channel(whence.grpc) as channel:
            signal, _ = request_of(orjson.dumps(spans("cart", time.time_ns())))
            export = channel.unary_unary(signal.method, request_serializer=lambda message: message.SerializeToString())
            window(export, 2.0, args.rate)
            for number in range(args.rounds):
                idle = window(export, args.seconds, args.rate)
                with training(folder / "training", job) as pid:
                    nice, busy = niceness(pid), window(export, args.seconds, args.rate)
                for what, took in (("idle", idle), ("training", busy)):
                    p99[what].append(float(np.quantile(took, 0.99)))
                print(f"round {number + 1}: p50 {np.median(idle):.1f} / {np.median(busy):.1f} ms, p99 {p99['idle'][-1]:.1f} / ", end="")
                print(f"{p99['training'][-1]:.1f} ms (idle / training at niceness {nice})", flush=True)
            whence.stop()
    idle_ms, training_ms = (float(np.median(p99[what])) for what in ("idle", "training"))
    print(f"median p99: idle {idle_ms:.1f} ms, training {training_ms:.1f} ms, ratio {training_ms / idle_ms:.2f} (limit {LIMIT:.0f})")
    return int(training_ms > LIMIT * idle_ms)


if __name__ == "__main__":
    sys.exit(main())
