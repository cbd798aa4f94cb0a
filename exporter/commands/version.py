"""`whence version`."""

from __future__ import annotations

import argparse
import json
import platform

from engine import kernels
from exporter import __version__
from exporter.decode.decoder import in_use


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence version`."""
    parser.description, parser.epilog = "Says which whence this is.", "example: whence version --json"
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it."""
    found = {"whence": __version__, "python": platform.python_version(), "platform": platform.platform(), "decoder": in_use()}
    found["kernels"] = kernels.in_use()
    print(
        json.dumps(found)
        if args.json
        else f"whence {__version__} (Python {found['python']}, {found['platform']}, {found['decoder']} decoder, {found['kernels']} kernels)"
    )
    return 0
