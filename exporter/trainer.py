"""Training in a process of its own: niced, one thread, bounded in time and memory, killed cleanly. `python -m exporter.trainer JOB RESULT`.

A job and its result are .npz files without pickle, written beside their name, synced and renamed: a file that is there is whole.
A subprocess, never a fork: gRPC and OpenMP do not survive one. torch is imported here and in no other process (465 MB).
"""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.pipeline import Engine, TrainedModel, TrainingJob, train
from exporter.log import event
from exporter.threads import ONE_THREAD

NICENESS = 10
MEMORY_MIB = 4096  # of address space, which torch reserves far more of than it uses
TIMEOUT_SECONDS = 300.0
Arrays = dict[str, npt.NDArray[Any]]


class TrainingError(Exception):
    """A training came to nothing; the text says why."""


class Trainer:
    """At most one training at a time, in a process of its own. Not for several threads at once."""

    def __init__(self, folder: Path, *, timeout_seconds: float = TIMEOUT_SECONDS, memory_mib: int = MEMORY_MIB) -> None:
        self.folder = folder
        self.timeout_seconds = timeout_seconds
        self.memory_mib = memory_mib
        self.source: str | None = None  # of the training under way
        self._last = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline_seconds = 0.0

    @property
    def pid(self) -> int | None:
        """Of the training under way, None if there is none."""
        return None if self._process is None else self._process.pid

    def step(self, engine: Engine, now_ns: int) -> None:
        """Adopt what is done, start what is due; never waits. A training that came to nothing is logged and counted by the engine."""
        try:
            model = self.poll(time.monotonic())
        except (TrainingError, OSError, ValueError, KeyError) as error:
            event("training failed", level=logging.WARNING, source=self._last, reason=str(error))
            engine.rows.fail(self._last)
            return
        if model is not None:
            live = engine.adopt(model)
            event(
                "training done",
                source=str(model.source),
                live=live,
                rows=model.report.rows,
                refused=model.report.refused,
                model=model.checksum,
            )
        elif self._process is None and (job := engine.due(now_ns)) is not None:
            self.start(job, time.monotonic())

    def start(self, job: TrainingJob, now_seconds: float) -> None:
        """Start a training; `now_seconds` is of a monotonic clock. Raises: RuntimeError if one is under way."""
        if self._process is not None:
            raise RuntimeError(f"one training at a time, however: {self.source=} is under way")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._result.unlink(missing_ok=True)
        write_arrays(self._job, job.to_arrays())
        environment = os.environ | ONE_THREAD
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "exporter.trainer", str(self._job), str(self._result), str(self.memory_mib)],
                env=environment,
                cwd=Path(__file__).resolve().parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.source = self._last = job.source.value
        self._deadline_seconds = now_seconds + self.timeout_seconds

    def poll(self, now_seconds: float) -> TrainedModel | None:
        """The model once it is there, None while it is not. Raises: TrainingError when the training failed or took too long."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is None:
            if now_seconds <= self._deadline_seconds:
                return None
            source = self.source
            self.stop()
            raise TrainingError(f"train {source}: took longer than {self.timeout_seconds:.0f} s")
        source, self._process, self.source = self.source, None, None
        if code != 0:
            last = self._errors.read_text(errors="replace").strip().splitlines()[-1:]
            raise TrainingError(f"train {source}: exit {code}: {''.join(last)}")
        return TrainedModel.from_arrays(read_arrays(self._result))

    def stop(self) -> None:
        """End a training that is under way: terminate, after two seconds kill."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = self.source = None

    @property
    def _job(self) -> Path:
        return self.folder / "training-job.npz"

    @property
    def _result(self) -> Path:
        return self.folder / "training-result.npz"

    @property
    def _errors(self) -> Path:
        return self.folder / "training-errors.txt"


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz under a temporary name, sync, rename."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> Arrays:
    """Arrays of an .npz. Raises: OSError, ValueError when it is none."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def main(arguments: list[str]) -> int:
    """Train the job of one file into another."""
    job, result, memory_mib = Path(arguments[0]), Path(arguments[1]), int(arguments[2]) if len(arguments) > 2 else MEMORY_MIB
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib << 20, memory_mib << 20))
    write_arrays(result, train(TrainingJob.from_arrays(read_arrays(job))).to_arrays())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
