"""Tests run with one BLAS thread, as whence does: what a process beside this one computes is compared to the bit."""

from exporter.threads import one_thread

one_thread()
