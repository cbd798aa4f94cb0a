"""A catalogue of changes that are known to do harm, and of texts that are known to be said: each is read as what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.judge.attribution.diff import parse
from engine.judge.attribution.mechanism import mechanism_term
from engine.judge.attribution.none import MACHINES, STATUS_WORDS
from engine.judge.attribution.symptoms import text_kinds
from engine.records import ChangeType, ConfigChange

CATALOGUE: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "data" / "catalogue.yaml").read_text())
EXPLAINED = 0.75  # nats, of at most 2


def speaks_of_no_change(text: str) -> bool:
    """Whether a text is one that speaks for *none*."""
    return bool(STATUS_WORDS.search(text)) or any(words.search(text) for words, _ in MACHINES)


@pytest.mark.parametrize("entry", CATALOGUE["changes"], ids=lambda entry: str(entry["what"]))
def test_a_change_explains_what_such_changes_bring_about(entry: dict[str, Any]) -> None:
    diff = f"@@ {entry['file']}\n{entry['diff']}"
    change = ConfigChange("c", 0, ChangeType.CODE, files=(entry["file"],), diff=diff)
    assert max(mechanism_term(change, parse(diff), {kind: 1.0})[0] for kind in entry["explains"]) >= EXPLAINED


@pytest.mark.parametrize("entry", CATALOGUE["texts"], ids=lambda entry: str(entry["text"])[:40])
def test_a_text_shows_its_kind_of_symptom(entry: dict[str, Any]) -> None:
    assert set(entry["kinds"]) <= text_kinds(entry["text"])


@pytest.mark.parametrize("text", CATALOGUE["no_change"], ids=lambda text: str(text)[:40])
def test_machines_providers_and_what_ends_speak_for_no_change(text: str) -> None:
    assert speaks_of_no_change(text)


@pytest.mark.parametrize("text", CATALOGUE["a_change_may_say"], ids=lambda text: str(text)[:40])
def test_what_a_change_may_have_brought_about_does_not(text: str) -> None:
    assert not speaks_of_no_change(text)
