from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from engine.normal import gate, learn
from engine.normal.features import SERVICE, SUBJECT
from tests.rows_world import jobs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow


def test_equal_jobs_give_equal_models_and_leave_global_chance_alone() -> None:
    job = jobs(steps=3)["traces"]
    before = torch.random.get_rng_state()
    first, second = learn.train(job), learn.train(job)
    assert first.checksum == second.checksum
    assert torch.equal(before, torch.random.get_rng_state())
    assert learn.train(replace(job, seed=job.seed + 1)).checksum != first.checksum


def test_half_of_a_batch_shares_its_subject() -> None:
    job = jobs(steps=3)["traces"]
    rows = np.arange(len(job.codes))
    batch = learn._batch(job, rows, np.random.default_rng(0))
    assert len(set(batch.tolist())) == len(batch) == job.pairs
    subject = job.codes[batch][:, [SERVICE, SUBJECT]]
    _, counts = np.unique(subject, axis=0, return_counts=True)
    assert counts[counts >= 4].sum() >= len(batch) // 2


def test_a_model_of_the_shop_finds_what_is_planted() -> None:
    report = learn.train(jobs(steps=60)["traces"]).report
    assert report.cosine_noisy > 0.92
    assert report.effective_rank > 8
    assert report.recall > 0.5
    assert report.auc_trained > 0.75


def test_rows_that_collapsed_are_refused() -> None:
    job = jobs(steps=3)["traces"]
    rng = np.random.default_rng(0)
    weights, _ = learn._fit(replace(job, steps=0), np.arange(len(job.codes)), rng)
    flat = weights | {"out.w": weights["out.w"] * 0, "out.b": weights["out.b"] + 1}
    held = np.arange(len(job.codes)) % 5 == 0
    report = gate.judged(job.source, job.encoder, flat, weights, job, held, rng).report
    assert not report.passed
    assert report.effective_rank < 2


def test_too_few_rows_are_an_error() -> None:
    job = jobs(steps=3)["traces"]
    with pytest.raises(ValueError, match="at least"):
        learn.train(replace(job, codes=job.codes[:5], numbers=job.numbers[:5]))


def test_importing_the_engine_does_not_import_torch() -> None:
    code = "import sys, engine.pipeline, exporter.service; assert 'torch' not in sys.modules, 'torch was imported'"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
