"""The command `whence`: finds the command that is meant and has it run. Answers go to standard output, everything else to the other."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

from exporter.threads import one_thread


class Command(NamedTuple):
    """A module with add_arguments(parser) and run(args) -> exit status, imported when it is wanted."""

    module: str
    help: str


COMMANDS = {
    "serve": Command("exporter.commands.serve", "receive OTLP, decide, publish"),
    "demo": Command("exporter.demo", "two recorded failures through a running whence"),
    "status": Command("exporter.commands.status", "is it working: what arrives, learning, drops, hints"),
    "incidents": Command("exporter.commands.incidents", "list, show, confirm or dismiss incidents"),
    "changes": Command("exporter.commands.changes", "announce or list changes"),
    "explain": Command("exporter.commands.explain", "what broke around a time"),
    "replay": Command("exporter.replay", "send a recording as OTLP, or stream it here"),
    "eval": Command("exporter.evaluate.command", "score recordings whose causes are known"),
    "config": Command("exporter.commands.config", "check, show or describe the settings"),
    "version": Command("exporter.commands.version", "which whence this is"),
}


def usage() -> str:
    """The help of `whence` itself."""
    lines = [f"  {name:<10} {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: whence COMMAND [ARGUMENTS]",
            "",
            "Root causes for OpenTelemetry: takes OTLP from a Collector, says what broke, why, and which change did it.",
            "",
            *lines,
            "",
            "whence COMMAND --help says more, with an example.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. 0: good; 1: it ran, the answer is bad; 2: usage or settings."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(usage(), file=sys.stderr)
        return 2
    name, *rest = words
    if name in {"-h", "--help", "help"}:
        print(usage())
        return 0
    if name == "--version":
        name = "version"
    if name not in COMMANDS:
        meant = difflib.get_close_matches(name, COMMANDS, n=1)
        print(f"whence: there is no command {name!r}{f'; did you mean {meant[0]}?' if meant else ''} (see whence --help)", file=sys.stderr)
        return 2
    one_thread()
    parser = argparse.ArgumentParser(prog=f"whence {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    module = importlib.import_module(COMMANDS[name].module)
    try:
        module.add_arguments(parser)
        status: int = module.run(parser.parse_args(rest))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # who read the answer has enough; the flush at exit must not complain again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
