"""One thread for BLAS and OpenMP, in every process of whence: no numpy here, for it must be told before numpy comes."""

from __future__ import annotations

import os

#: Sums of several threads are rounded in another order, so equal telemetry would not give equal bytes on machines with other cores; and
#: threads that spin while they wait cost more CPU than they save on the small products that are computed here.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def one_thread() -> None:
    """Tell the libraries that this process has yet to import."""
    os.environ.update(ONE_THREAD)
