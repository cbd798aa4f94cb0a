"""Training of one source's TabularResNet on its own rows, without labels. The only place that imports torch, and only when it trains.

    loss = NT-Xent(temperature 0.07; view = noise 0.3 on numbers, dropout, identity kept) + mean over masked fields of -ln p(x_f | rest)

Half of each batch comes from few subjects (rows that share service and subject), and each row has a corrupted copy among its negatives that
differs in one field: else identity alone solves the task, feature suppression (Chen, Luo, Li, NeurIPS 2021). SimCLR: Chen et al., 2020.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.normal import gate
from engine.normal.encode import MASK, Encoder, bins, inputs
from engine.normal.features import SCHEMAS, SERVICE, SUBJECT, Source
from engine.normal.model import (
    BLOCKS,
    HIDDEN,
    LEARNED,
    SIZE,
    Arrays,
    Report,
    TrainedModel,
    array_texts,
    classes_of,
    encoder_arrays,
    encoder_from,
    text_array,
    unit,
)
from engine.records import F32, I32, I64, U64, Bool

TEMPERATURE = 0.07
NOISE = 0.3  # of scaled numbers; 0.1 (the articles') makes each distinct row its own class: k-NN AUC .90-.97 instead of .96-.99
SUBJECT_SHARE = 0.5
RATE = 3e-3  # AdamW, falling to 0 along a cosine
CODE_SIZE = 32  # of a category's embedding before it is folded
_COLUMNS = ("codes", "numbers", "window", "key", "time_ns")
GROUP = 8  # rows of one subject in the hard half of a batch


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Rows to learn, encoded. Equal jobs give equal models."""

    source: Source
    encoder: Encoder
    codes: I32  # [m, categories] model codes
    numbers: F32  # [m, numbers] scaled, NaN absent
    window: Bool  # [m]
    key: U64  # [m]
    time_ns: I64  # [m]
    seed: int
    steps: int = 100
    pairs: int = 128

    def to_arrays(self) -> Arrays:
        """Everything as named arrays (for .npz, no pickle)."""
        arrays = encoder_arrays(self.encoder) | {name: getattr(self, name) for name in _COLUMNS}
        return arrays | {"source": text_array([self.source.value]), "sizes": np.array([self.seed, self.steps, self.pairs], np.int64)}

    @staticmethod
    def from_arrays(arrays: Arrays) -> TrainingJob:
        """The job of `to_arrays`. Raises: KeyError naming the array that is missing."""
        source = Source(array_texts(arrays["source"])[0])
        seed, steps, pairs = arrays["sizes"].tolist()
        encoder = encoder_from(arrays, len(SCHEMAS[source].categories))
        columns: dict[str, Any] = {name: arrays[name] for name in _COLUMNS}
        return TrainingJob(source=source, encoder=encoder, **columns, seed=seed, steps=steps, pairs=pairs)


def train(job: TrainingJob) -> TrainedModel:
    """Train, fold, judge. The global generator of torch is left as it was.

    About 3 s of CPU for 100 steps of 128 pairs. Raises: ValueError for fewer rows than one batch.
    """
    if len(job.codes) < 2 * GROUP:
        raise ValueError(f"training needs at least {2 * GROUP} rows, however: {len(job.codes)=}")
    rng = np.random.default_rng(job.seed)
    held = np.zeros(len(job.codes), bool)
    held[rng.permutation(len(job.codes))[: max(len(job.codes) // 5, 2)]] = True
    untrained, trained = _fit(job, np.flatnonzero(~held), rng)
    return gate.judged(job.source, job.encoder, trained, untrained, job, held, np.random.default_rng(job.seed + 1))


@contextlib.contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """Sums of several threads are rounded in another order: equal jobs would give unequal models on other machines."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(job: TrainingJob, rows: I64, rng: np.random.Generator) -> tuple[dict[str, F32], dict[str, F32]]:
    """Folded weights before and after training on the given rows."""
    import torch

    with torch.random.fork_rng(devices=[]), _one_thread(torch):
        torch.manual_seed(job.seed)
        net = _network(torch, job)
        _warm(torch, net, job, rows, rng)
        plain = _plain(job)
        before = _folded(torch, net) | plain
        optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(job.steps, 1))
        net.train()
        for _ in range(job.steps):
            loss = _contrast(torch, net, job, _batch(job, rows, rng), rng) + _masked(torch, net, job, rows, rng)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return before, _folded(torch, net) | plain


def _network(torch: Any, job: TrainingJob) -> Any:
    """Parts by name; `_hidden` says how they go together."""
    nn = torch.nn
    categories = job.codes.shape[1]
    parts = {f"embed_{column}": nn.Embedding(len(texts), CODE_SIZE) for column, texts in enumerate(job.encoder.vocabulary)}
    parts["first"] = nn.Linear(categories * CODE_SIZE + 2 * job.numbers.shape[1], HIDDEN)
    for block in range(BLOCKS):
        parts[f"block_{block}"] = nn.ModuleList(
            [nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.Dropout(0.1)]
        )
    parts["out"] = nn.Linear(HIDDEN, LEARNED)
    for field, classes in enumerate(classes_of(job.encoder, categories)):
        if classes:
            parts[f"head_{field}"] = nn.Linear(HIDDEN, classes)
    return nn.ModuleDict(parts)


def _hidden(torch: Any, net: Any, codes: I32, numbers: F32) -> Any:
    """[n, 256]; `numbers` are inputs of the first layer, see `encode.inputs`."""
    parts = [net[f"embed_{column}"](torch.from_numpy(codes[:, column].astype(np.int64))) for column in range(codes.shape[1])]
    hidden = net["first"](torch.cat([*parts, torch.from_numpy(numbers)], dim=1))
    for block in range(BLOCKS):
        linear1, norm1, linear2, norm2, dropout = net[f"block_{block}"]
        inner = dropout(torch.relu(norm1(linear1(hidden))))
        hidden = torch.relu(hidden + norm2(linear2(inner)))
    return hidden


def _batch(job: TrainingJob, rows: I64, rng: np.random.Generator) -> I64:
    """Distinct rows: half at random, half in groups of one service and subject (hard negatives)."""
    size = min(job.pairs, len(rows))
    chosen = rng.permutation(rows)
    anchors = chosen[: max(size // 2 // GROUP, 1)]
    subject = job.codes[:, SERVICE].astype(np.int64) << 32 | job.codes[:, SUBJECT]
    wanted = np.isin(subject[chosen], subject[anchors])
    hard = chosen[wanted][: size // 2]
    easy = chosen[~np.isin(chosen, hard)][: size - len(hard)]
    return np.concatenate([hard, easy])


def _contrast(torch: Any, net: Any, job: TrainingJob, batch: I64, rng: np.random.Generator) -> Any:
    """NT-Xent of two noisy views of each row."""
    codes, numbers = job.codes[batch], job.numbers[batch]
    noisy = [numbers + rng.normal(0, NOISE, numbers.shape).astype(np.float32) for _ in range(2)]
    odd_codes, odd_numbers = _corrupted(codes, numbers, rng)
    hidden = _hidden(torch, net, np.concatenate([codes, codes, odd_codes]), inputs(np.concatenate([*noisy, odd_numbers])))
    rows = torch.nn.functional.normalize(net["out"](hidden), dim=1)
    n = len(batch)
    likeness = rows[: 2 * n] @ rows.T / TEMPERATURE
    likeness.fill_diagonal_(float("-inf"))
    partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return torch.nn.functional.cross_entropy(likeness, partner)


def _corrupted(codes: I32, numbers: F32, rng: np.random.Generator) -> tuple[I32, F32]:
    """The batch with one field a row taken from another row: what is near a row in all but one field is not the row."""
    codes, numbers = codes.copy(), numbers.copy()
    categories = codes.shape[1]
    donor = rng.permutation(len(codes))
    field = rng.integers(categories + numbers.shape[1], size=len(codes))
    for column in range(categories):
        at = np.flatnonzero(field == column)
        codes[at, column] = codes[donor[at], column]
    for column in range(numbers.shape[1]):
        at = np.flatnonzero(field == categories + column)
        numbers[at, column] = rng.choice([-1.0, 1.0], len(at)) * rng.uniform(4, 12, len(at)) + 0 * numbers[at, column]
    return codes, numbers


def _masked(torch: Any, net: Any, job: TrainingJob, rows: I64, rng: np.random.Generator) -> Any:
    """Mean over fields of -ln p(x_f | rest), one field masked in each row of a fresh batch."""
    batch = rng.permutation(rows)[: job.pairs]
    categories = job.codes.shape[1]
    codes, numbers = job.codes[batch].copy(), job.numbers[batch]
    heads = [int(name.removeprefix("head_")) for name in net if name.startswith("head_")]
    field = np.where(rng.random(len(batch)) < SUBJECT_SHARE, SUBJECT, rng.choice(heads, len(batch)))
    masked = np.zeros(numbers.shape, bool)
    targets = {}
    for head in heads:
        at = np.flatnonzero(field == head)
        if head < categories:
            targets[head] = (at, codes[at, head].copy())
            codes[at, head] = MASK
        else:
            at = at[~np.isnan(numbers[at, head - categories])]
            masked[at, head - categories] = True
            targets[head] = (at, bins(numbers[at, head - categories]))
    hidden = _hidden(torch, net, codes, inputs(numbers, masked))
    losses = [
        torch.nn.functional.cross_entropy(net[f"head_{head}"](hidden[torch.from_numpy(at)]), torch.from_numpy(target.astype(np.int64)))
        for head, (at, target) in targets.items()
        if len(at)
    ]
    return torch.stack(losses).mean()


def _warm(torch: Any, net: Any, job: TrainingJob, rows: I64, rng: np.random.Generator) -> None:
    """Give BatchNorm the statistics of the rows, so that untrained weights are a fair comparison."""
    net.train()
    with torch.no_grad():
        for _ in range(10):
            batch = rng.permutation(rows)[: job.pairs]
            _hidden(torch, net, job.codes[batch], inputs(job.numbers[batch]))


def _plain(job: TrainingJob) -> dict[str, F32]:
    """The projection that is not learned: a random direction of length 1 for each text, number and flag."""
    rng = np.random.default_rng(job.seed + 2)
    sizes = {str(column): len(texts) for column, texts in enumerate(job.encoder.vocabulary)} | {"numbers": 2 * job.numbers.shape[1]}
    return {f"plain.{name}": unit(rng.normal(size=(size, SIZE - LEARNED)).astype(np.float32)) for name, size in sizes.items()}


def _folded(torch: Any, net: Any) -> dict[str, F32]:
    """Weights with BatchNorm (y = (x - mean) g / sqrt(var + eps) + b) folded into its Linear, tables into the first layer."""
    with torch.no_grad():
        first = net["first"].weight.double()
        weights = {"bias": net["first"].bias.double()}
        at = 0
        for column in range(sum(name.startswith("embed_") for name in net)):
            weights[f"table.{column}"] = net[f"embed_{column}"].weight.double() @ first[:, at : at + CODE_SIZE].T
            at += CODE_SIZE
        weights["numbers"] = first[:, at:].T
        for block in range(BLOCKS):
            parts = net[f"block_{block}"]
            for number, (linear, norm) in enumerate(((parts[0], parts[1]), (parts[2], parts[3])), start=1):
                gain = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
                weights[f"block.{block}.w{number}"] = (linear.weight.double() * gain[:, None]).T
                weights[f"block.{block}.b{number}"] = (linear.bias.double() - norm.running_mean.double()) * gain + norm.bias.double()
        for name in net:
            if name == "out" or name.startswith("head_"):
                weights[f"{name.replace('_', '.')}.w"] = net[name].weight.double().T
                weights[f"{name.replace('_', '.')}.b"] = net[name].bias.double()
        return {name: np.ascontiguousarray(value.numpy().astype(np.float32)) for name, value in weights.items()}


__all__ = ["Report", "TrainedModel", "TrainingJob", "train"]
