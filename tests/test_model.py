from __future__ import annotations

import numpy as np
import pytest

from engine.normal import learn
from engine.normal.encode import UNKNOWN, inputs
from engine.normal.model import LEARNED, TrainedModel, embed, field_nats, first_layer, trunk
from engine.normal.score import masked
from tests.rows_world import jobs

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.slow


def test_numpy_equals_torch() -> None:
    job = jobs(steps=5)["traces"]
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = learn._network(torch, job)
        for _ in range(3):  # BatchNorm gets statistics worth folding
            net.train()
            learn._hidden(
                torch, net, job.codes[:300], inputs(job.numbers[:300] + rng.normal(0, 1, job.numbers[:300].shape).astype(np.float32))
            )
        net.eval()
        weights = learn._folded(torch, net) | learn._plain(job)
        with torch.no_grad():
            hidden = learn._hidden(torch, net, job.codes, inputs(job.numbers))
            expected = torch.nn.functional.normalize(net["out"](hidden), dim=1).numpy()
            logits = net["head_1"](hidden).numpy()
    actual = embed(weights, job.codes, job.numbers)
    assert np.abs(actual[:, :LEARNED] * np.sqrt(2) - expected).max() < 1e-5
    assert np.linalg.norm(actual, axis=1) == pytest.approx(1, abs=1e-5)
    heads = trunk(weights, first_layer(weights, job.codes, job.numbers)) @ weights["head.1.w"] + weights["head.1.b"]
    assert np.abs(heads - logits).max() < 1e-4


def test_training_leaves_the_plain_half_alone() -> None:
    job = jobs(steps=5)["traces"]
    untrained, trained = learn._fit(job, np.arange(len(job.codes)), np.random.default_rng(0))
    before, after = (embed(weights, job.codes, job.numbers) for weights in (untrained, trained))
    assert np.array_equal(before[:, LEARNED:], after[:, LEARNED:])
    assert np.abs(before[:, :LEARNED] - after[:, :LEARNED]).max() > 1e-3


def test_a_masked_field_is_predicted_as_torch_does() -> None:
    job = jobs(steps=5)["traces"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        net = learn._network(torch, job).eval()
        weights = learn._folded(torch, net)
        number = 0  # the first number, masked everywhere it is present
        masked = np.zeros(job.numbers.shape, bool)
        rows = np.flatnonzero(~np.isnan(job.numbers[:, number]))
        masked[rows, number] = True
        with torch.no_grad():
            hidden = learn._hidden(torch, net, job.codes, inputs(job.numbers, masked))
            head = job.codes.shape[1] + number
            nats = torch.nn.functional.cross_entropy(
                net[f"head_{head}"](hidden), torch.from_numpy(learn.bins(job.numbers[:, number]).astype(np.int64)), reduction="none"
            ).numpy()
    actual = field_nats(weights, job.codes, job.numbers)[:, head]
    assert np.abs(actual[rows] - nats[rows]).max() < 1e-4
    assert np.isnan(np.delete(actual, rows)).all()


def test_an_unknown_text_costs_what_an_unseen_value_costs_and_other_rows_what_their_fields_do() -> None:
    job = jobs(steps=5)["traces"]
    weights = learn.train(job).weights
    codes, numbers = job.codes[:40].copy(), job.numbers[:40]
    codes[::2, 2] = UNKNOWN
    surplus, field = masked(
        weights | {"absent": np.full(codes.shape[1], -1, np.float32)}, codes, numbers, np.zeros(len(codes), bool), trained=99
    )
    assert (field[::2] == 2).all()
    assert surplus[::2] == pytest.approx(max(np.log(100) - weights["typical"][2], 0), abs=1e-5)
    slow = np.nanmax(field_nats(weights, codes, numbers) - weights["typical"], axis=1)[1::2]
    assert surplus[1::2] == pytest.approx(np.maximum(slow, 0), abs=1e-4)


def test_arrays_give_the_same_model_and_hold_no_pickle() -> None:
    model = learn.train(jobs(steps=5)["traces"])
    arrays = model.to_arrays()
    assert not any(array.dtype.hasobject for array in arrays.values())
    again = TrainedModel.from_arrays(arrays)
    assert again.checksum == model.checksum
    assert again.report == model.report
    assert again.encoder.vocabulary == model.encoder.vocabulary
    assert again.tails["arrival/all"].u == model.tails["arrival/all"].u


def test_what_a_window_row_always_lacks_is_not_asked_for() -> None:
    job = jobs(steps=1)["traces"]
    _, weights = learn._fit(job, np.arange(len(job.codes)), np.random.default_rng(0))
    weights |= {"absent": job.encoder.absent, "typical": np.zeros(job.codes.shape[1] + job.numbers.shape[1], np.float32)}
    lacks = job.codes == job.encoder.absent
    assert lacks[job.window].any()
    nats = field_nats(weights, job.codes, job.numbers, silent=lacks)
    assert np.isnan(nats[:, : job.codes.shape[1]][lacks]).all()
    assert np.array_equal(np.isnan(nats[:, : job.codes.shape[1]]), lacks)
    quiet = np.nan_to_num(job.numbers) * 0  # no number claims anything
    surplus, field = masked(weights, job.codes, quiet, np.ones(len(quiet), bool), trained=99)
    assert not lacks[np.arange(len(lacks)), field][surplus > 0].any()
