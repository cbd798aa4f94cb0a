"""`whence changes add|list`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from engine.records import ChangeType
from exporter.changes.native import SCHEMA
from exporter.commands import client
from exporter.commands.client import Client, ClientError
from exporter.status import table

DESCRIPTION = "Changes that a running whence knows of: deployments, configuration, code, feature flags."
EPILOG = """examples: whence changes add --type deployment --service cart --version 2.3.0 --summary "Larger pool"
          git-to-change | whence changes add --file -
          whence changes list --service cart
exit status: 0, 1 not running or refused, 2 wrong usage or settings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence changes`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="add|list")
    add = verbs.add_parser(
        "add", help="announce one", epilog="example: whence changes add --type deployment --service cart --version 2.3.0"
    )
    add.add_argument("--file", metavar="FILE", help="JSON of one change or a list of them, as the API takes it; - for standard input")
    add.add_argument("--type", choices=[each.value for each in ChangeType], help="what kind of thing changed")
    for name, shape in SCHEMA["properties"].items():
        if name != "type" and "string" in shape["type"]:
            add.add_argument(f"--{name.replace('_', '-')}", metavar="TEXT", help=shape["description"].replace("%", "%%"))
    add.add_argument("--changed-file", action="append", default=[], metavar="PATH", help="a file that changed; may be repeated")
    add.add_argument("--param", action="append", default=[], metavar="NAME=OLD..NEW", help="a parameter that changed; may be repeated")
    every = verbs.add_parser("list", help="newest first", epilog="example: whence changes list --service cart")
    every.add_argument("--service", help="only of this service")
    every.add_argument("--start", metavar="TIME", help="from here on: RFC 3339, or seconds since 1970")
    every.add_argument("--end", metavar="TIME", help="up to here")
    every.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (default: %(default)s)")
    for verb in (add, every):
        client.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    try:
        whence = Client(args)
        if args.verb == "add":
            answer = whence.post("/api/v1/changes", announced(args))
            text = "\n".join(answer["ids"])
        else:
            answer = whence.get("/api/v1/changes", service=args.service, start=args.start, end=args.end, limit=args.limit)
            text = listed(answer["changes"])
    except ClientError as error:
        return client.fail("changes", error)
    if args.json:
        client.print_json(answer)
    else:
        print(text)
    return 0


def announced(args: argparse.Namespace) -> Any:
    """What is to be sent. Raises: ClientError for a file that cannot be read, or arguments that say nothing."""
    if args.file is not None:
        try:
            text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8")
            return json.loads(text)
        except (OSError, ValueError) as error:
            raise ClientError(f"--file {args.file}: {error}", 2) from None
    if not args.type:
        raise ClientError("--type or --file is needed", 2)
    given: dict[str, Any] = {"type": args.type}
    for name in SCHEMA["properties"]:
        value = getattr(args, name, None)
        if isinstance(value, str):
            given[name] = value
    if args.changed_file:
        given["files"] = args.changed_file
    if args.param:
        given["params"] = [param(each) for each in args.param]
    return given


def param(text: str) -> dict[str, str]:
    """A parameter of NAME, NAME=NEW or NAME=OLD..NEW.

    >>> param("pool=5..50"), param("pool=50")
    ({'name': 'pool', 'old': '5', 'new': '50'}, {'name': 'pool', 'new': '50'})
    """
    name, _, values = text.partition("=")
    old, dots, new = values.partition("..")
    found = {"name": name, "old": old if dots else "", "new": new if dots else old}
    return {key: value for key, value in found.items() if value}


def listed(changes: list[dict[str, Any]]) -> str:
    """Changes as a table."""
    if not changes:
        return "no change"
    rows = [
        (each["time"], each["type"], each.get("service", "-"), each.get("version", "-"), each.get("summary", "")[:60], each["id"])
        for each in changes
    ]
    return "\n".join(table(("time", "type", "service", "version", "summary", "id"), rows))
