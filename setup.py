"""The compiled modules: the wire walker, the engine's kernels and where large arrays lie. Without a C compiler whence installs and runs all
the same, with its plain decoder and NumPy, and says so.
"""

from __future__ import annotations

from glob import glob

import numpy as np
from setuptools import Extension, setup

# No -march=native: a wheel runs on other machines than the one that built it.
FLAGS = ["-O3", "-fno-strict-aliasing"]

walker = Extension(
    "exporter.decode.walker",
    ["exporter/decode/walker.pyx"],
    depends=sorted(glob("exporter/decode/walk/*.h")),
    include_dirs=["exporter/decode"],
    extra_compile_args=FLAGS,
    optional=True,
)

kernels = [
    Extension(path.removesuffix(".pyx").replace("/", "."), [path], extra_compile_args=FLAGS, optional=True)
    for path in sorted(glob("engine/kernels/*.pyx"))
]

pages = Extension("exporter.pages", ["exporter/pages.pyx"], include_dirs=[np.get_include()], extra_compile_args=FLAGS, optional=True)

setup(ext_modules=[walker, *kernels, pages])
