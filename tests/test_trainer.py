from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.normal.learn import train
from exporter.trainer import NICENESS, Trainer, TrainingError, read_arrays, write_arrays
from tests.rows_world import jobs

pytestmark = pytest.mark.slow


def finish(trainer: Trainer) -> object:
    """Poll until the training ends; half a second is nothing beside three."""
    while (model := trainer.poll(0.0)) is None:
        time.sleep(0.2)
    return model


def test_a_model_from_the_other_process_is_the_one_trained_here_and_it_is_niced(tmp_path: Path) -> None:
    job = jobs(steps=3)["traces"]
    trainer = Trainer(tmp_path)
    trainer.start(job, 0.0)
    niceness = 0
    while (model := trainer.poll(0.0)) is None:
        stat = Path(f"/proc/{trainer.pid}/stat")
        if stat.exists():
            niceness = max(niceness, int(stat.read_text().rsplit(")", 1)[1].split()[16]))
        time.sleep(0.05)
    assert niceness >= NICENESS
    assert model.checksum == train(job).checksum
    assert not list(tmp_path.glob("*.tmp"))


def test_a_job_that_cannot_be_trained_says_why(tmp_path: Path) -> None:
    job = jobs(steps=3)["traces"]
    trainer = Trainer(tmp_path)
    trainer.start(replace(job, codes=job.codes[:3], numbers=job.numbers[:3]), 0.0)
    with pytest.raises(TrainingError, match="at least 16 rows"):
        finish(trainer)
    assert trainer.pid is None


def test_a_training_past_its_time_is_ended(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, timeout_seconds=1.0)
    trainer.start(replace(jobs(steps=3)["traces"], steps=100_000), 0.0)
    pid = trainer.pid
    with pytest.raises(TrainingError, match="longer than 1 s"):
        trainer.poll(2.0)
    assert trainer.pid is None
    assert not Path(f"/proc/{pid}").exists()


def test_memory_is_bounded(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, memory_mib=300)
    trainer.start(jobs(steps=3)["traces"], 0.0)
    with pytest.raises(TrainingError, match="exit"):
        finish(trainer)


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)})

    class Broken:
        def __array__(self, *_: object, **__: object) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_arrays(path, {"x": Broken()})  # type: ignore[dict-item]
    assert read_arrays(path)["x"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]
