"""`whence status`: is it working? What arrives from whom, learning, drops, hints."""

from __future__ import annotations

import argparse

from exporter.commands import client
from exporter.commands.client import Client, ClientError
from exporter.status import status_text

DESCRIPTION = "Says what a running whence receives from whom, how far it has learnt, what it drops and why, and what makes it blind."
EPILOG = """example: whence status --url http://127.0.0.1:4319
exit status: 0 ready, 1 not running or not ready, 2 wrong usage or settings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence status`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    client.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    try:
        status = Client(args).get("/api/v1/status")
    except ClientError as error:
        return client.fail("status", error)
    if args.json:
        client.print_json(status)
    else:
        print(status_text(status))
    return 0 if status["state"] == "ready" else 1
