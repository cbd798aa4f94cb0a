from __future__ import annotations

import numpy as np

from engine.normal.residual import fit_plane, residual, robust_z


def test_a_row_that_breaks_the_relation_stands_out_where_no_number_does() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(0, 2, 500)
    normal = np.stack([x, 2 * x + rng.normal(0, 0.05, 500)], axis=1).astype(np.float32)
    plane = fit_plane(normal)
    odd = np.array([[2.0, -2.0]], np.float32)
    assert residual(plane, odd)[0] > 10 * residual(plane, normal).max()
    assert robust_z(odd)[0][0] < robust_z(normal)[0].max()


def test_one_direction_is_left_for_the_residual() -> None:
    plane = fit_plane(np.eye(3, dtype=np.float32)[[0, 0, 0]] * np.array([[1], [2], [3]], np.float32))
    assert plane.basis.shape[1] <= 2


def test_absent_numbers_are_not_odd() -> None:
    plane = fit_plane(np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32))
    absent = np.full((1, 4), np.nan, np.float32)
    assert residual(plane, absent)[0] < 2
    assert robust_z(absent)[1].tolist() == [-1]
