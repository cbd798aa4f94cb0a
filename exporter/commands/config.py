"""`whence config check|schema|show`."""

from __future__ import annotations

import argparse
import json
import os
import sys

import yaml

from exporter import config
from exporter.config import ConfigError
from exporter.sections import Config

DESCRIPTION = """Settings: one YAML file, and over it the environment (WHENCE_RECEIVER__GRPC__ENDPOINT=0.0.0.0:4317)."""
EPILOG = """examples: whence config check --config whence.yaml
          whence config schema > whence.schema.json
          whence config show
exit status: 0, 2 wrong usage or settings"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence config`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="check|schema|show")
    check = verbs.add_parser("check", help="name every mistake", epilog="example: whence config check --config whence.yaml")
    verbs.add_parser("schema", help="JSON schema of the file", epilog="example: whence config schema > whence.schema.json")
    show = verbs.add_parser("show", help="the settings in effect, secrets hidden", epilog="example: whence config show --json")
    for verb in (check, show):
        verb.add_argument("--config", metavar="FILE", help="default: WHENCE_CONFIG, else whence.yaml here, else defaults")
        verb.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Read and print."""
    if args.verb == "schema":
        print(json.dumps(Config.model_json_schema(), indent=2))
        return 0
    try:
        settings = config.load(args.config)
    except ConfigError as error:
        if args.verb == "check" and args.json:
            print(json.dumps({"ok": False, "problems": error.problems}, indent=2))
        else:
            for line in error.problems:
                print(f"whence config: {line}", file=sys.stderr)
        return 2
    if args.verb == "check":
        source = config.find(args.config, os.environ)
        print(json.dumps({"ok": True, "problems": []}) if args.json else f"{source or 'defaults'}: good")
        return 0
    values = config.shown(settings)
    print(json.dumps(values, indent=2) if args.json else yaml.safe_dump(values, sort_keys=False), end="\n" if args.json else "")
    return 0
