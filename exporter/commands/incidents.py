"""`whence incidents list|show|confirm|dismiss`."""

from __future__ import annotations

import argparse
from urllib.parse import quote

from exporter.commands import client
from exporter.commands.client import Client, ClientError
from exporter.status import incident_lines
from exporter.text import finding_text

DESCRIPTION = "Incidents of a running whence."
EPILOG = """examples: whence incidents list --state active
          whence incidents show 5ca1ab1e00000001
          whence incidents dismiss 5ca1ab1e00000001 --note "load test"
exit status: 0, 1 not running or no such incident, 2 wrong usage or settings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence incidents`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|show|confirm|dismiss")
    every = verbs.add_parser("list", help="newest first", epilog="example: whence incidents list --state active")
    every.add_argument("--state", choices=("all", "active", "closed"), default="all")
    every.add_argument("--since", metavar="TIME", help="opened from here on: RFC 3339, or seconds since 1970")
    every.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (default: %(default)s)")
    show = verbs.add_parser("show", help="one, with its evidence", epilog="example: whence incidents show 5ca1ab1e00000001")
    confirm = verbs.add_parser("confirm", help="it was real", epilog="example: whence incidents confirm 5ca1ab1e00000001 --service cart")
    confirm.add_argument("--service", default="", help="the true root cause, where whence was wrong")
    dismiss = verbs.add_parser("dismiss", help="it was none: close it", epilog="example: whence incidents dismiss 5ca1ab1e00000001")
    for verb in (confirm, dismiss):
        verb.add_argument("--note", default="", help="why")
    for verb in (show, confirm, dismiss):
        verb.add_argument("id")
    for verb in (every, show, confirm, dismiss):
        client.add_arguments(verb)
        verb.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Ask and print."""
    try:
        whence = Client(args)
        if args.verb == "list":
            answer = whence.get("/api/v1/incidents", state=args.state, since=args.since, limit=args.limit)
            text = "\n".join(incident_lines(answer["incidents"])) if answer["incidents"] else "no incident"
        elif args.verb == "show":
            answer = whence.get(f"/api/v1/incidents/{quote(args.id, safe='')}")
            text = "\n".join([*incident_lines([answer]), "", finding_text(answer["finding"]), "", *answer["history"]])
        else:
            told = {"verdict": args.verb, "note": args.note} | ({"service": args.service} if args.verb == "confirm" else {})
            answer = whence.post(f"/api/v1/incidents/{quote(args.id, safe='')}/feedback", told)
            text = f"{args.verb}ed {args.id}: {answer['state']}" if args.verb == "dismiss" else f"confirmed {args.id}"
    except ClientError as error:
        return client.fail("incidents", error)
    if args.json:
        client.print_json(answer)
    else:
        print(text)
    return 0
