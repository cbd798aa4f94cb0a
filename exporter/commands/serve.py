"""`whence serve`: receives, decides, publishes, until it is told to stop."""

from __future__ import annotations

import argparse
import os
import sys

from exporter import config
from exporter.config import ConfigError

DESCRIPTION = """Listens for OTLP (gRPC 4317, HTTP 4318) and serves its page, metrics and API on port 4319. Findings go to standard output
as JSON lines, its own events to standard error. SIGHUP reloads the settings; SIGTERM and SIGINT stop it cleanly."""
EPILOG = """example: whence serve --config whence.yaml
exit status: 0 stopped, 1 stopped before its queue was empty, 2 settings or ports that cannot be used"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence serve`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.add_argument("--config", metavar="FILE", help="settings (default: WHENCE_CONFIG, else whence.yaml here, else defaults)")


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # grpc-core writes lines of its own about what we answer or say ourselves
    from exporter import service  # grpc and faiss: half a second that other commands need not wait

    try:
        settings = config.load(args.config)
    except ConfigError as error:
        for line in error.problems:
            print(f"whence: {line}", file=sys.stderr)
        return 2
    return service.run(settings, lambda: config.load(args.config))
