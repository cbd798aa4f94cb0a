"""The compiled wire walker. Without a C compiler whence installs and runs all the same, with its plain decoder, and says so."""

from __future__ import annotations

import os
from glob import glob

from setuptools import Extension, setup

FLAGS = ["-O3", "-fno-strict-aliasing", *os.environ.get("WALKER_CFLAGS", "").split()]

walker = Extension(
    "exporter.decode.walker",
    ["exporter/decode/walker.pyx"],
    depends=sorted(glob("exporter/decode/walk/*.h")),
    include_dirs=["exporter/decode"],
    extra_compile_args=FLAGS,
    extra_link_args=os.environ.get("WALKER_LDFLAGS", "").split(),
    optional=True,
)

setup(ext_modules=[walker])
