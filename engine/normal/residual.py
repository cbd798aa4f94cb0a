"""Two plain detectors that always stand beside the vectors: PCA residual and robust z of the numbers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from engine.records import F32, I32


class Plane(NamedTuple):
    """The subspace in which normal rows lie."""

    centre: F32  # [f]
    basis: F32  # [f, k], orthonormal


def fit_plane(numbers: F32, share: float = 0.9) -> Plane:
    """Leading principal components that hold `share` of the variance; at least one direction is left for the residual.

    Absent numbers count as usual (0). Jackson and Mudholkar, Technometrics 21 (1979).
    Args: numbers [n, f] scaled.
    """
    values = np.nan_to_num(numbers).astype(np.float64)
    centre = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
    _, singular, axes = np.linalg.svd(values - centre, full_matrices=False)
    power = singular**2
    held = np.cumsum(power) / max(float(power.sum()), 1e-12)
    k = min(int(np.searchsorted(held, share)) + 1, values.shape[1] - 1, len(power))
    return Plane(centre.astype(np.float32), axes[:k].T.astype(np.float32))


def residual(plane: Plane, numbers: F32) -> F32:
    """Distance [n] of rows from the plane, in scaled units.

    >>> plane = fit_plane(np.array([[1, 1], [2, 2], [-3, -3]], np.float32))
    >>> residual(plane, np.array([[5, 5], [1, -1]], np.float32)).round(3)
    array([0.   , 1.414], dtype=float32)
    """
    values = np.nan_to_num(numbers) - plane.centre
    rest = values - (values @ plane.basis) @ plane.basis.T
    distance: F32 = np.sqrt((rest**2).sum(axis=1)).astype(np.float32)
    return distance


def robust_z(numbers: F32) -> tuple[F32, I32]:
    """Largest |number| of each row, and its column (-1: the row has none). Numbers are scaled by median and MAD already.

    >>> z, column = robust_z(np.array([[1.0, -7.0], [np.nan, np.nan]], np.float32))
    >>> z.tolist(), column.tolist()
    ([7.0, 0.0], [1, -1])
    """
    size = np.abs(np.nan_to_num(numbers))
    column = size.argmax(axis=1).astype(np.int32)
    largest = size.max(axis=1).astype(np.float32)
    return largest, np.where(largest > 0, column, -1).astype(np.int32)
