"""What a flag switches on: code that earlier commits brought, and that nobody ran before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from engine.judge.attribution.content import COMMON
from engine.judge.attribution.diff import words
from engine.judge.attribution.files import GENERIC
from engine.judge.attribution.live import Live
from engine.records import ChangeType, ConfigChange

SHARE: Final = 0.8  # of a commit's evidence that its flag has, too


def brought_by(changes: Sequence[ConfigChange], lives: Mapping[str, Live]) -> dict[str, tuple[str, ...]]:
    """By id of a flag: ids of the commits behind it.

    A commit is behind a flag if it went live before, in the flag's service, and its paths, title and changed lines hold every word of
    the flag's key but those of the service's name. Args: changes; when and where each went live, by id.
    """
    commits = [(change, _said(change)) for change in changes if change.type is ChangeType.CODE and change.diff]
    found = {}
    for flag in changes:
        if not flag.flag_key:
            continue
        own = set(words(flag.service))
        key = {word for word in words(flag.flag_key) if word not in own and word not in COMMON and word not in GENERIC}
        behind = tuple(
            commit.id
            for commit, said in commits
            if key
            and key <= said
            and lives[commit.id].time_ns <= flag.time_ns
            and (not flag.service or flag.service in lives[commit.id].services)
        )
        if behind:
            found[flag.id] = behind
    return found


def _said(change: ConfigChange) -> set[str]:
    lines = [line[1:] for line in change.diff.splitlines() if line[:1] in "+-"]
    return {word for text in (change.summary, *change.files, *lines) for word in words(text)}
