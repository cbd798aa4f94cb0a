"""TabularResNet in NumPy: BatchNorm and the first layer folded away, weights as plain arrays.

    h = sum_f T_f[code_f] + inputs(numbers) N + b                T_f = E_f W_f, folded
    h = relu(h + W2 relu(W1 h + b1) + b2)                        four blocks, each BatchNorm inside its Linear
    row = (unit(h O + o), unit(sum_f P_f[code_f] + inputs(numbers) Q)) / sqrt 2       32 learned numbers, 32 plain ones
    ln p(x_f | rest) = log_softmax(h_masked H_f + c_f)[x_f]      a head a field, at scoring too

The plain half is a random projection that training leaves alone (Johnson, Lindenstrauss 1984): every field counts in it as much as any
other, whatever training found to be of use.
Gorishniy et al., Revisiting Deep Learning Models for Tabular Data, NeurIPS 2021 (ResNet for tables).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.normal import tail
from engine.normal.encode import BINS, MASK, Encoder, bins, inputs
from engine.normal.features import SCHEMAS, Source
from engine.normal.residual import Plane
from engine.records import F32, I32, I64, U64, Bool

HIDDEN = 256
BLOCKS = 4
SIZE = 64  # of a row
LEARNED = 32  # of them
MEMBERS = ("k-nearest rows", "masked field", "PCA residual", "robust z")
KINDS = ("arrival", "window")
LEAST = (1e-3, 1e-2, 0.5, 0.5)  # differences of MEMBERS that mean anything: distance, nats, scaled units, scaled units
LEAST_SUM = 1e-2
MASKED_ROWS = 128  # whose fields go through the network together: what the second-level cache holds
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Report:
    """What the gate measured, and why the model may not go live ("" if it may)."""

    rows: int
    proxy_accuracy: float  # the subject, from held-out rows with the subject masked
    proxy_ceiling: float  # the same by a table of the other categories
    cosine_noisy: float  # of a row and itself with noise
    cosine_other: float  # of two rows of one subject
    effective_rank: float
    recall: float  # planted anomalies found where 5 % of normal rows are
    auc_trained: float  # k-NN distance alone: planted against held-out rows
    auc_untrained: float  # the same with the weights before training
    refused: str

    @property
    def passed(self) -> bool:
        """May go live."""
        return not self.refused


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One source's model: everything that scoring needs, as values."""

    source: Source
    encoder: Encoder
    weights: dict[str, F32]
    plane: Plane
    tails: dict[str, tail.Tail]  # "<kind>/<member>" and "<kind>/all"
    key: U64  # [m] the rows it was fitted on
    vectors: F32  # [m, 64] their embeddings
    report: Report

    @property
    def checksum(self) -> str:
        """Of the weights: which model said something."""
        digest = hashlib.blake2b(digest_size=8)
        for name in sorted(self.weights):
            digest.update(np.ascontiguousarray(self.weights[name]).tobytes())
        return digest.hexdigest()

    def to_arrays(self) -> Arrays:
        """Everything as named arrays (for .npz, no pickle)."""
        arrays: Arrays = {f"weight/{name}": value for name, value in self.weights.items()}
        arrays |= {f"tail/{name}": value.reference for name, value in self.tails.items()}
        arrays |= encoder_arrays(self.encoder)
        arrays |= {"plane/centre": self.plane.centre, "plane/basis": self.plane.basis, "key": self.key, "vectors": self.vectors}
        figures = np.array([getattr(self.report, name) for name in _FIGURES], np.float64)
        return arrays | {"source": text_array([self.source.value]), "refused": text_array([self.report.refused]), "report": figures}

    @staticmethod
    def from_arrays(arrays: Arrays) -> TrainedModel:
        """The model of `to_arrays`. Raises: KeyError naming the array that is missing."""
        source = Source(array_texts(arrays["source"])[0])
        figures: dict[str, Any] = dict(zip(_FIGURES, arrays["report"].tolist(), strict=True))
        figures["rows"] = int(figures["rows"])
        encoder = encoder_from(arrays, len(SCHEMAS[source].categories))
        weights = {name.removeprefix("weight/"): value for name, value in arrays.items() if name.startswith("weight/")}
        return TrainedModel(
            source=source,
            encoder=encoder,
            weights={"absent": encoder.absent} | weights,  # a state of an earlier version has none
            plane=Plane(arrays["plane/centre"], arrays["plane/basis"]),
            tails={
                name.removeprefix("tail/"): tail.fit(value, least_of(name)) for name, value in arrays.items() if name.startswith("tail/")
            },
            key=arrays["key"],
            vectors=arrays["vectors"],
            report=Report(**figures, refused=array_texts(arrays["refused"])[0]),
        )


def least_of(name: str) -> float:
    """Least difference that means anything in the tail "<kind>/<member>" or "<kind>/all"."""
    return dict(zip(MEMBERS, LEAST, strict=True)).get(name.rpartition("/")[2], LEAST_SUM)


def first_layer(weights: dict[str, F32], codes: I32, numbers: F32) -> F32:
    """Sum of every field's share [n, 256] before the blocks."""
    hidden: F32 = inputs(numbers) @ weights["numbers"] + weights["bias"]
    for column in range(codes.shape[1]):
        hidden += weights[f"table.{column}"][codes[:, column]]
    return hidden


def trunk(weights: dict[str, F32], hidden: F32) -> F32:
    """The residual blocks [n, 256] -> [n, 256]."""
    for block in range(BLOCKS):
        inner = hidden @ weights[f"block.{block}.w1"]
        inner += weights[f"block.{block}.b1"]
        np.maximum(inner, 0, out=inner)
        outer = inner @ weights[f"block.{block}.w2"]
        outer += weights[f"block.{block}.b2"]
        outer += hidden
        hidden = np.maximum(outer, 0, out=outer)
    return hidden


def embed(weights: dict[str, F32], codes: I32, numbers: F32) -> F32:
    """Normalised rows [n, 64], the learned half first."""
    learned = trunk(weights, first_layer(weights, codes, numbers)) @ weights["out.w"] + weights["out.b"]
    plain = inputs(numbers) @ weights["plain.numbers"]
    for column in range(codes.shape[1]):
        plain += weights[f"plain.{column}"][codes[:, column]]
    rows: F32 = np.concatenate([unit(learned), unit(plain)], axis=1) * np.float32(np.sqrt(0.5))
    return rows


def unit(rows: F32) -> F32:
    """Rows [n, d] of length 1; zeros stay."""
    scaled: F32 = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    return scaled


def field_nats(weights: dict[str, F32], codes: I32, numbers: F32, least: float = 0.0, silent: Bool | None = None) -> F32:
    """-ln p(x_f | rest) [n, fields]: each field masked in turn; NaN where it makes no claim: an absent number, one below `least`, and the
    `silent` categories [n, categories].
    """
    claims = np.ones(codes.shape, bool) if silent is None else ~silent
    result = np.full((len(codes), codes.shape[1] + numbers.shape[1]), np.nan, np.float32)
    for start in range(0, len(codes), MASKED_ROWS):
        some = slice(start, start + MASKED_ROWS)
        _field_nats(weights, codes[some], numbers[some], claims[some], least, result[some])
    return result


def _field_nats(weights: dict[str, F32], codes: I32, numbers: F32, claims: Bool, least: float, result: F32) -> None:
    """`field_nats` into `result`: all fields go through the blocks at once, for few rows cost as much as the reading of weights."""
    before = first_layer(weights, codes, numbers)
    categories, count = codes.shape[1], numbers.shape[1]
    classes = bins(numbers)
    asked: list[tuple[int, I64, I32]] = []  # field, rows, their class
    parts = []
    for field in range(categories + count):
        if f"head.{field}.w" not in weights:
            continue
        if field < categories:
            rows = np.flatnonzero(claims[:, field])
            table, target = weights[f"table.{field}"], codes[rows, field]
            asked.append((field, rows, target))
            parts.append(before[rows] - table[target] + table[MASK])
            continue
        column = field - categories
        rows = np.flatnonzero(np.abs(numbers[:, column]) >= least)  # NaN is not
        value, flag = weights["numbers"][column], weights["numbers"][count + column]
        asked.append((field, rows, classes[rows, column]))
        parts.append(before[rows] - numbers[rows, column, None] / np.float32(4) * value - 2 * flag)
    hidden = trunk(weights, np.concatenate(parts))
    at = 0
    for field, rows, target in asked:
        logits = hidden[at : at + len(rows)] @ weights[f"head.{field}.w"] + weights[f"head.{field}.b"]
        result[rows, field] = log_sum_exp(logits) - logits[np.arange(len(rows)), target]
        at += len(rows)


def log_sum_exp(logits: F32) -> F32:
    """ln of the sum of exp [n] over the last axis [n, k]."""
    top = logits.max(axis=1, keepdims=True)
    total: F32 = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
    return total


def classes_of(encoder: Encoder, categories: int) -> list[int]:
    """Classes of each field's head: the vocabulary of a category, the bins of a number, 0 where the field is not used."""
    return [len(texts) for texts in encoder.vocabulary[:categories]] + [BINS if used else 0 for used in encoder.used.tolist()]


def encoder_arrays(encoder: Encoder) -> Arrays:
    """An encoder as named arrays."""
    arrays: Arrays = {"encoder/centre": encoder.centre, "encoder/scale": encoder.scale, "encoder/used": encoder.used}
    for column, (texts, rare) in enumerate(zip(encoder.vocabulary, encoder.overflow, strict=True)):
        arrays[f"encoder/vocabulary.{column}"] = text_array(texts)
        arrays[f"encoder/overflow.{column}"] = text_array(rare)
    return arrays


def encoder_from(arrays: Arrays, categories: int) -> Encoder:
    """The encoder of `encoder_arrays`."""
    return Encoder(
        vocabulary=tuple(array_texts(arrays[f"encoder/vocabulary.{column}"]) for column in range(categories)),
        overflow=tuple(array_texts(arrays[f"encoder/overflow.{column}"]) for column in range(categories)),
        centre=arrays["encoder/centre"],
        scale=arrays["encoder/scale"],
        used=arrays["encoder/used"],
    )


def text_array(texts: tuple[str, ...] | list[str]) -> npt.NDArray[np.uint8]:
    """Texts as UTF-8 bytes, each ended by 0xff (no byte of UTF-8).

    >>> array_texts(text_array(["a", "", "b"]))
    ('a', '', 'b')
    """
    return np.frombuffer(b"".join(text.encode() + b"\xff" for text in texts), np.uint8)


def array_texts(array: npt.NDArray[Any]) -> tuple[str, ...]:
    """The texts of `text_array`."""
    return tuple(part.decode() for part in array.tobytes().split(b"\xff")[:-1])


_FIGURES = (
    "rows",
    "proxy_accuracy",
    "proxy_ceiling",
    "cosine_noisy",
    "cosine_other",
    "effective_rank",
    "recall",
    "auc_trained",
    "auc_untrained",
)
