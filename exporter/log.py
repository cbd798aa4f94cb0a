"""whence's own events on standard error: start, stop, state saved, sink down, sink back. Never one a record: those are counted."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

LOGGER = logging.getLogger("whence")


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(c in text for c in ' "=\n\r\t\\') else text


class Logfmt(logging.Formatter):
    """time=… level=… event="state saved" bytes=1024."""

    def format(self, record: logging.LogRecord) -> str:
        """One line a record; a traceback stands behind it, quoted."""
        fields = {"time": _stamp(record.created), "level": record.levelname.lower(), "event": record.getMessage()}
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return self.line(fields)

    def line(self, fields: dict[str, object] | dict[str, str]) -> str:
        """Fields as text."""
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())


class Json(Logfmt):
    """The same as one JSON object a line."""

    def line(self, fields: dict[str, object] | dict[str, str]) -> str:
        """Fields as text."""
        return json.dumps(fields, ensure_ascii=False, default=str)


def setup(level: str = "info", form: str = "logfmt", stream: TextIO | None = None) -> None:
    """Send events of this level and above to standard error, or to a stream."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(Json() if form == "json" else Logfmt())
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


def event(message: str, /, *, level: int = logging.INFO, trace: bool = False, **fields: object) -> None:
    """Log one event. trace: with the traceback of the exception being handled."""
    LOGGER.log(level, message, extra={"fields": fields}, exc_info=trace)
