"""Whether the fast path and the plain one say the same: compiled walker and kernels against protobuf classes and NumPy.

    python -m tests.bench.same_answers RECORDING...

Each recording goes through both as protobuf, in processes of their own; explanations of its faults and every publication are compared.
Exit status 1: another root or change was named somewhere, or other fields differ in more than 1 % of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from engine.records import Batch
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter.changes.log_record import EVENT_TYPES
from exporter.threads import ONE_THREAD

COMPILED = ("engine.kernels.sums", "engine.kernels.tables", "engine.kernels.traces", "exporter.decode.walker")
OTHERS_MOST = 0.01  # of answers may differ in other fields
Answer = dict[str, Any]


def told(recording: Path) -> Answer:
    """What an engine says of a recording that reaches it as protobuf. Decoder and kernels are those that can be imported."""
    from engine import kernels
    from exporter.decode.decoder import Decoder, decoder, in_use
    from exporter.evaluate import stream
    from exporter.evaluate.truth import load
    from tests.otlp import to_protobuf

    decoders: list[Decoder] = []

    def decoded(line: bytes, strings: Strings, resources: Resources) -> Batch:
        if not decoders:
            decoders.append(decoder("auto", strings, resources, EVENT_TYPES))
        payload = orjson.loads(line)
        (signal,) = payload
        take = {"resourceSpans": decoders[0].traces, "resourceLogs": decoders[0].logs, "resourceMetrics": decoders[0].metrics}[signal]
        return take(to_protobuf(payload).SerializeToString())

    stream.decode_json = decoded  # type: ignore[assignment]
    faults = [stream.Question(fault.case, *fault.given_ns, nulls=None) for fault in load(recording).faults]
    answers = stream.as_data(stream.stream(recording, faults, EngineSettings(), plain=False))
    return {"paths": [in_use(), kernels.in_use()], "explained": answers["explained"], "published": answers["published"]}


def named(answer: Answer) -> tuple[str, str]:
    """Root, and the change or that there is none."""
    return (answer["causes"][0]["service"] if answer["causes"] else "", answer["change"])


def compare(fast: Answer, plain: Answer) -> tuple[int, int, int]:
    """Answers, those that name another root or change, and those that differ otherwise."""
    one = {**fast["explained"], **{f"{p['incident']} {p['published_ns']}": p["answer"] for p in fast["published"]}}
    two = {**plain["explained"], **{f"{p['incident']} {p['published_ns']}": p["answer"] for p in plain["published"]}}
    keys = one.keys() | two.keys()
    other = sum(key not in one or key not in two or named(one[key]) != named(two[key]) for key in keys)
    unlike = sum(key in one and key in two and one[key] != two[key] and named(one[key]) == named(two[key]) for key in keys)
    return len(keys), other, unlike


def main() -> int:
    """Compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recordings", type=Path, nargs="+", metavar="RECORDING")
    parser.add_argument("--run", choices=("fast", "plain"), help="one path only, its answers as JSON on standard output")
    args = parser.parse_args()
    if args.run:
        if args.run == "plain":
            sys.modules.update(dict.fromkeys(COMPILED))  # type: ignore[arg-type]  # None: cannot be imported
        sys.stdout.buffer.write(orjson.dumps(told(args.recordings[0])))
        return 0
    failed = False
    for recording in args.recordings:
        both = []
        for path in ("fast", "plain"):
            command = [sys.executable, "-m", "tests.bench.same_answers", "--run", path, os.fspath(recording)]
            both.append(orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **ONE_THREAD}).stdout))
        count, other, unlike = compare(*both)
        print(f"{recording.name}: {count} answers, {other} name another root or change, {unlike} differ otherwise", flush=True)
        print(f"  {' and '.join(both[0]['paths'])} against {' and '.join(both[1]['paths'])}", flush=True)
        failed |= other > 0 or unlike > OTHERS_MOST * count
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
