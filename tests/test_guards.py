"""Nothing in the product knows the recordings: no name of theirs stands in it, and other names or weeks change no answer."""

from __future__ import annotations

import codecs
import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry import semconv
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from engine.settings import EngineSettings
from exporter.evaluate.answers import Answer
from exporter.evaluate.stream import Question, stream
from exporter.evaluate.truth import load
from exporter.recording import find, lines
from tests import authored

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "exporter" / "recordings"
#: Names count from this length on, any other recorded string from LONG on; shorter ones are words of the trade (GET, INFO).
SHORT, LONG = 5, 12
WEEKS_NS = 3 * 7 * 24 * 3600 * 10**9
LITERAL = re.compile(rb'"((?:[^"\\]|\\.){12,})"')
NAMED = re.compile(rb'"key":"(?:service\.name|k8s\.pod\.name|service\.instance\.id|k8s\.node\.name)","value":{"stringValue":"([^"]+)"')
OPERATION = re.compile(rb'"name":"((?:[^"\\]|\\.)+)","kind"')
TIME = re.compile(r'("(?:start|end|observed)?[tT]imeUnixNano":")(\d+)"')
ID = re.compile(rb"[0-9a-f]{16,32}|[0-9.+-]+")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.:/#-]{11,}")
SEPARATOR = re.compile(r"[./:]")
#: Of HTTP, CSS and UCUM, an attribute of Envoy, names of standard libraries, and plain English.
ELSEWHERE = {
    *("Content-Type", "Content-Encoding", "content-type", "transfer-encoding", "application/json", "font-weight:"),
    *("{operation}/s", "upstream.host", "IllegalStateException", "QueryRowContext", "availability", "documentation"),
}
#: What whence itself defines: the attributes and event names of change events, and the mark of spans that only draw the call graph.
OWN = re.compile(
    r"files_changed|lines_added|lines_removed|feature_flag|rca\.change\.[a-z_]+|config\.change|code\.change|feature_flag\.change|synthetic\.topology"
)


def conventional() -> set[str]:
    """Names of the semantic conventions, and of OTLP itself."""
    names = set()
    for path in Path(semconv.__path__[0]).rglob("*.py"):
        names.update(re.findall(r'"([a-z0-9_.]+)"', path.read_text()))
    waiting = [module.DESCRIPTOR for module in (logs_service_pb2, metrics_service_pb2, trace_service_pb2)]
    while waiting:
        file = waiting.pop()
        waiting += file.dependencies
        messages = list(file.message_types_by_name.values())
        while messages:
            message = messages.pop()
            messages += message.nested_types
            names.update(field.json_name for field in message.fields)
    return names


def recorded(path: Path) -> tuple[set[str], set[str]]:
    """(names, other strings) of a recording: names of services, pods and operations; every other text of 12 and more characters.

    Whole texts of up to 80 characters that hold no digits, and the pieces of all of them.
    """
    names: set[bytes] = set()
    others: set[bytes] = set()
    for line in lines(path):
        names.update(NAMED.findall(line))
        if line.startswith(b'{"resourceSpans"'):
            names.update(OPERATION.findall(line))
        others.update(set(LITERAL.findall(line)))
    texts = [text_of(raw) for raw in others if not ID.fullmatch(raw)]
    whole = {text for text in texts if len(text) <= 80 and " " in text and not any(map(str.isdigit, text))}
    return {name for name in map(text_of, names) if len(name) >= SHORT}, whole | pieces(texts)


def pieces(texts: Iterable[str]) -> set[str]:
    """Words of 12 and more characters, and the parts of 12 and more between their dots, slashes and colons.

    >>> sorted(pieces(["at t.s.OrderServiceImpl#12 of shop"]))
    ['OrderServiceImpl#12', 't.s.OrderServiceImpl#12']
    """
    found = {word.rstrip(".:/#-") for text in texts for word in WORD.findall(text)}
    found |= {part for word in found for part in SEPARATOR.split(word)}
    return {word for word in found if len(word) >= LONG}


def text_of(raw: bytes) -> str:
    """The text of a JSON string literal without its quotes."""
    return str(orjson.loads(b'"' + raw + b'"'))


def product() -> dict[str, str]:
    """Text of every source file of engine and exporter."""
    files = [path for folder in ("engine", "exporter") for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".pyx", ".html"}]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in files}


def known(sources: dict[str, str], names: set[str], others: set[str]) -> list[str]:
    """Recorded strings that stand in the sources, comments and examples included."""
    allowed = conventional() | ELSEWHERE
    whole = "\n".join(sources.values())
    for convention in sorted((name for name in allowed if "." in name), key=len, reverse=True):
        whole = whole.replace(convention, "")
    found = {text for text in names if text in whole and re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", whole)}
    found |= pieces([whole]) & others
    found |= {text for text in others if " " in text and text in whole}
    return sorted(text for text in found if text not in allowed and not OWN.fullmatch(text))


def recordings() -> list[Path]:
    """The shipped recordings, and those of WHENCE_RECORDINGS."""
    return find([SHIPPED] + [Path(folder) for folder in (os.environ.get("WHENCE_RECORDINGS"),) if folder])


@pytest.fixture(scope="module")
def everything_recorded() -> tuple[set[str], set[str]]:
    names: set[str] = set()
    others: set[str] = set()
    for path in recordings():
        more_names, more_others = recorded(path)
        names |= more_names
        others |= more_others
    return names, others


def test_no_recorded_string_stands_in_the_product(everything_recorded: tuple[set[str], set[str]]) -> None:
    assert known(product(), *everything_recorded) == []


PLANTED = ["ts-preserve-service", "PetSearch_AWS::ECS::Fargate", "pod_client_latency_p95", "PreserveServiceImpl#180"]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_string_is_found(everything_recorded: tuple[set[str], set[str]], planted: str) -> None:
    assert any(planted in text for text in known({"planted.py": f'RULE = ("{planted}", 1)\n'}, *everything_recorded))


def asked(path: Path) -> tuple[Question, ...]:
    """The last question of the truth beside a recording."""
    return tuple(Question(fault.case, *fault.given_ns) for fault in load(path).faults[-1:])


def renaming(path: Path) -> dict[str, str]:
    """A new name for every service and pod: letters are exchanged for others, so that it sorts elsewhere; digits and signs stay."""
    names = {name for line in lines(path) for name in map(text_of, NAMED.findall(line)) if len(name) >= SHORT}
    return {name: codecs.encode(name, "rot13") for name in names}


def rewritten(path: Path, target: Path, names: dict[str, str], shift_ns: int = 0) -> Path:
    """A copy with other names wherever the old ones stand as words, and times moved by a constant."""
    longest_first = sorted(names, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first))) if names else re.compile("(?!)")
    with target.open("w") as file:
        for line in lines(path):
            text = pattern.sub(lambda found: names[found[0]], line.decode())
            file.write(TIME.sub(lambda found: f'{found[1]}{int(found[2]) + shift_ns}"', text) + "\n")
    return target


@functools.cache
def answers(path: Path, questions: tuple[Question, ...]) -> list[tuple[Any, ...]]:
    """What is said, without times and ids of incidents."""
    said = stream(path, questions, EngineSettings(), plain=False)
    everything: list[Answer] = [*said.explained.values(), *(publication.answer for publication in said.published)]
    return [
        (
            [(cause.service, round(cause.score, 6)) for cause in answer.causes],
            answer.change,
            [(change.id, round(change.probability, 6)) for change in answer.changes],
            round(answer.confidence, 6),
        )
        for answer in everything
    ]


RECORDED = ["petshop/issue_2", "nezha-trainticket/2023-01-30-1330"]
#: Incidents with commits, diffs, deploys and flags; those recorded are not shipped.
AUTHORED = ["01-session-leak", "10-flag-path", "16-sms-provider"]


def written(name: str, folder: Path) -> Path:
    """A shipped recording, or an authored incident with its truth."""
    if name in RECORDED:
        return SHIPPED / f"{name}.jsonl.zst"
    path = folder / f"{name}.jsonl"
    path.write_bytes(b"\n".join(authored.payloads(name)) + b"\n")
    (folder / f"{name}.truth.json").write_bytes(orjson.dumps(authored.truth(name)))
    return path


def with_names(said: list[tuple[Any, ...]], names: dict[str, str]) -> list[tuple[Any, ...]]:
    """Answers with services and changes called otherwise; what ties is put in the order of the new names."""
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))

    def called(name: str) -> str:
        return pattern.sub(lambda found: names[found[0]], name)

    def renamed(ranked: list[tuple[str, float]]) -> list[tuple[str, float]]:
        return in_order([(called(name), value) for name, value in ranked])

    return [(renamed(causes), called(change), renamed(changes), sure) for causes, change, changes, sure in said]


def in_order(ranked: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """A ranking in which exact ties stand by name."""
    return sorted(ranked, key=lambda one: (-one[1], one[0]))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RECORDED, *AUTHORED])
def test_other_service_names_change_nothing(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path)
    names = renaming(path)
    questions = asked(path)
    renamed = answers(rewritten(path, tmp_path / "renamed.jsonl", names), questions)
    assert with_names(answers(path, questions), names) == [
        (in_order(causes), change, in_order(changes), sure) for causes, change, changes, sure in renamed
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*RECORDED, *AUTHORED])
def test_other_weeks_change_nothing(name: str, tmp_path: Path) -> None:
    path = written(name, tmp_path)
    (question,) = asked(path)
    later = Question(question.case, question.start_ns + WEEKS_NS, question.end_ns + WEEKS_NS)
    assert answers(path, (question,)) == answers(rewritten(path, tmp_path / "later.jsonl", {}, WEEKS_NS), (later,))
