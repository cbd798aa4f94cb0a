"""The engine as it was before a restart: its state file, then what the store knows later than that."""

from __future__ import annotations

import logging
from pathlib import Path

from engine.pipeline import Engine
from engine.records import ConfigChange
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from exporter import state_file
from exporter.log import event
from exporter.store import Store

#: Changes of the look-back are given to the engine again, at most so many.
CHANGES_AGAIN = 10_000
#: Incidents laid over the state, open and closed ones each: those published after it was saved.
INCIDENTS_AGAIN = 200


def restored(strings: Strings, resources: Resources, settings: EngineSettings, path: Path, store: Store) -> tuple[Engine, str]:
    """The engine, and what is wrong with its state ("" if nothing): a state that cannot be used is set aside, learning starts anew.

    Raises: StoreError.
    """
    engine, problem = Engine(strings, resources, settings), ""
    try:
        saved = state_file.load(path)
        if saved is not None:
            engine.restore(saved["engine"])
            event("state restored", watermark_ns=saved["watermark_ns"])
    except Exception as error:  # damaged, or of an engine that kept other things: never a reason not to start
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        reason = str(error) if isinstance(error, state_file.StateError) else f"{type(error).__name__}: {error}"
        problem = f"state: {reason}; set aside as {aside.name}, learning starts anew"
        event("state not restored", level=logging.ERROR, reason=reason, kept=str(aside))
        engine = Engine(strings, resources, settings)
    engine.resume([each for active in (True, False) for each in store.incidents(active=active, limit=INCIDENTS_AGAIN)])
    return engine, problem


def changes_again(store: Store, settings: EngineSettings) -> tuple[ConfigChange, ...]:
    """Changes that the engine may still need, oldest first; those it knows it takes no second time. Raises: StoreError."""
    since_ns = max(0, store.watermark_ns() - settings.changes_ns)
    return tuple(reversed(store.changes(start_ns=since_ns, limit=CHANGES_AGAIN)))
