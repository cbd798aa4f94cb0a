"""The compiled modules: the wire walker and the engine's kernels. Without a C compiler whence installs and runs all the same, with its
plain decoder and NumPy, and says so.
"""

from __future__ import annotations

from glob import glob

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

setup(ext_modules=[walker, *kernels])
