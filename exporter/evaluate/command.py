"""`whence eval PATH...`: scores recorded failures whose causes are known."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import orjson

from engine.records import Family
from exporter.evaluate import report
from exporter.evaluate.gather import Evaluation, gather
from exporter.evaluate.runner import Options
from exporter.evaluate.runner import run as run_recordings
from exporter.evaluate.sets import document, set_name
from exporter.evaluate.truth import load_all
from exporter.recording import RecordingError

DESCRIPTION = """Streams every recording below the paths that has a NAME.truth.json beside it, once, inline, at full speed, and scores what
whence says: asked about the fault's interval (given), and on its own (found)."""
EPILOG = """example: whence eval recordings/ --json scores.json --report docs/accuracy.md
exit status: 0 scored, 1 a recording could not be streamed, 2 no recordings, or wrong usage"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `whence eval`."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", nargs="+", type=Path, help="recording, or folder that holds recordings at any depth")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON, version 1")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as Markdown, with FILE-calibration.svg beside it")
    parser.add_argument("--set", action="append", default=[], metavar="NAME", help="only this set, and those below it; may be repeated")
    parser.add_argument("--without", action="append", default=[], metavar="FAMILY", choices=[str(family) for family in Family],
                        help=f"leave a family of evidence out; may be repeated: {', '.join(Family)}")  # fmt: skip
    parser.add_argument("--no-plain", action="store_true", help="leave the plain methods out")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="recordings at a time, a process each (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Score, print, write. Returns the exit status."""
    if args.jobs < 1:
        print(f"whence eval: --jobs must be at least 1, however: {args.jobs}", file=sys.stderr)
        return 2
    options = Options(without=tuple(args.without), rows=Family.ROW not in args.without, plain=not args.no_plain, jobs=args.jobs)
    began = time.perf_counter()
    whole = Evaluation()
    try:
        for path in args.path:
            whole = merge(whole, evaluate(path, options, args.set))
    except RecordingError as error:
        print(f"whence eval: {error}", file=sys.stderr)
        return 2
    whole.wall_seconds = time.perf_counter() - began
    if not whole.sets and not whole.failures:
        print(f"whence eval: no set is named {' or '.join(args.set)}", file=sys.stderr)
        return 2
    print(report.summary(whole))
    for failure in whole.failures:
        print(f"whence eval: not scored: {failure}", file=sys.stderr)
    if args.json:
        args.json.write_bytes(orjson.dumps(document(whole.sets), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if args.report:
        report.write(whole, args.report, command="make eval")
    print(f"whence eval: {report.cost(whole)}", file=sys.stderr)
    return 1 if whole.failures else 0


def evaluate(path: Path, options: Options, only: list[str]) -> Evaluation:
    """Score everything at or below one path; `only`: sets by name, all where it is empty."""
    truths = load_all(path)
    if only:
        truths = [truth for truth in truths if any(f"{set_name(truth, path)}/".startswith(f"{name}/") for name in only)]
    return gather(list(run_recordings(truths, options, lambda text: print(text, file=sys.stderr))), path)


def merge(one: Evaluation, other: Evaluation) -> Evaluation:
    """Both, one after the other; a set that is in both appears twice."""
    return Evaluation(
        sets=one.sets + other.sets,
        outcomes=one.outcomes + other.outcomes,
        failures=one.failures + other.failures,
        plain=one.plain | other.plain,
        pages_false=one.pages_false + other.pages_false,
        nulls=one.nulls | other.nulls,
    )
