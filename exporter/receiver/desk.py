"""Takes a request, whatever it came by: checks, inflates, decodes, hands the columns in, and says what to answer."""

from __future__ import annotations

import hmac
import logging
import threading
from collections.abc import Callable
from time import perf_counter

from engine.records import SECOND_NS, Batch
from engine.strings import Resources, StringTable
from exporter.decode.decoder import decoder
from exporter.decode.drops import REJECTED
from exporter.decode.json import decode_json
from exporter.receiver.answers import Answer, Signal, Verdict
from exporter.receiver.counters import Counters
from exporter.receiver.hints import Hints
from exporter.receiver.inflate import TooLargeError, claimed_bytes, inflate
from exporter.receiver.intake import Busy, Intake
from exporter.receiver.settings import DeskSettings

log = logging.getLogger("whence.receiver")

LOUD_EVERY_NS = 60 * SECOND_NS  # a wrong token is logged this often, and counted always
LONGEST_MESSAGE = 500


class Desk:
    """One for all transports. Safe to call from several threads."""

    def __init__(
        self,
        intake: Intake,
        *,
        strings: StringTable,
        resources: Resources,
        settings: DeskSettings,
        counters: Counters,
        clock_ns: Callable[[], int],
    ) -> None:
        self.settings = settings
        self.counters = counters
        self._intake = intake
        self._strings, self._resources = strings, resources
        self._decoder = decoder(settings.decoder, strings, resources, settings.event_types)
        self._clock_ns = clock_ns
        self._token = settings.bearer_token.encode()
        self._decoding = threading.Lock()  # the dictionaries have one writer at a time
        self._hints = Hints(settings.hints_an_hour)
        self._said_ns: dict[str, int] = {}
        self.draining = False

    def replace_token(self, token: str) -> None:
        """Senders must present this one from now on; "": anyone may send."""
        self._token = token.encode()

    def authorized(self, authorization: str, transport: str) -> bool:
        """Whether an Authorization header has the token; a wrong one is counted and logged loudly: the Collector drops for good on it."""
        if not self._token:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return True
        self.counters.refused.labels(transport, Verdict.TOKEN).inc()
        what = "a wrong bearer token" if authorization else "no bearer token"
        self._say(
            f"{transport}: {what}",
            logging.ERROR,
            "%s: a sender presents %s and is refused; a Collector drops this data for good",
            transport,
            what,
        )
        return False

    def refuse(self, transport: str, verdict: Verdict, message: str) -> Answer:
        """Count a refusal that a transport decides by itself."""
        self.counters.refused.labels(transport, verdict).inc()
        return Answer(verdict, message[:LONGEST_MESSAGE])

    def take(self, transport: str, signal: Signal, body: bytes, *, gzipped: bool, is_json: bool = False) -> Answer:
        """Take a request. Never raises: an error of our own is an answer, too."""
        started = perf_counter()
        try:
            answer = self._take(transport, signal, body, gzipped, is_json)
        except MemoryError:
            answer = Answer(Verdict.BUSY, "out of memory")
        except Exception as error:  # an exception that left the handler would reach the Collector as UNKNOWN: dropped for good
            self._say(
                f"bug {type(error).__name__}",
                logging.ERROR,
                "%s: %s: a bug; the sender is asked to come again",
                transport,
                signal,
                bug=True,
            )
            answer = Answer(Verdict.BUG, "internal error; send again")
        if answer.verdict is not Verdict.TAKEN:
            self.counters.refused.labels(transport, answer.verdict).inc()
        self.counters.seconds.labels(transport, signal).observe(perf_counter() - started)
        return answer

    def _take(self, transport: str, signal: Signal, body: bytes, gzipped: bool, is_json: bool) -> Answer:
        limit = self.settings.max_message_bytes
        size = claimed_bytes(body) if gzipped else len(body)
        if size > limit:
            return Answer(Verdict.TOO_LARGE, f"{size} bytes, more than {limit}")
        if self.draining:
            return Answer(Verdict.BUSY, "shutting down")
        if signal is Signal.PROFILES:
            return Answer(Verdict.TAKEN)
        if not self._intake.reserve(size):
            return Answer(Verdict.BUSY, "no room; send again")
        kept = False
        try:
            batch = self._decoded(signal, inflate(body, limit) if gzipped else body, is_json)
            hints = self._intake.put(batch, size)
            kept = True
        except TooLargeError as error:
            return Answer(Verdict.TOO_LARGE, str(error))
        except ValueError as error:
            return Answer(Verdict.MALFORMED, str(error)[:LONGEST_MESSAGE])
        except Busy as error:
            return Answer(Verdict.BUSY, str(error)[:LONGEST_MESSAGE] or "no room; send again")
        finally:
            if not kept:
                self._intake.release(size)
        return self._taken(transport, signal, batch, self._hints.due(hints, self._clock_ns()))

    def _decoded(self, signal: Signal, raw: bytes, is_json: bool) -> Batch:
        with self._decoding:
            if is_json:
                return decode_json(raw, self._strings, self._resources, self.settings.event_types)
            if signal is Signal.TRACES:
                return self._decoder.traces(raw)
            if signal is Signal.LOGS:
                return self._decoder.logs(raw)
            return self._decoder.metrics(raw)

    def _taken(self, transport: str, signal: Signal, batch: Batch, hint: str) -> Answer:
        items = sum(len(columns.time_ns) for columns in (batch.spans, batch.logs, batch.points) if columns is not None)
        self.counters.items.labels(transport, signal).inc(items)
        for reason, count in batch.dropped:
            self.counters.dropped.labels(reason).inc(count)
        unusable = [(reason, count) for reason, count in batch.dropped if reason in REJECTED]
        said = [f"unusable: {', '.join(f'{count} {reason}' for reason, count in unusable)}"] if unusable else []
        return Answer(Verdict.TAKEN, "; ".join((*said, *([hint] if hint else []))), sum(count for _, count in unusable))

    def _say(self, key: str, level: int, text: str, *values: object, bug: bool = False) -> None:
        """Log an event, not each time that it happens; the dictionary holds one key a transport or exception type."""
        now_ns = self._clock_ns()
        if key not in self._said_ns or now_ns - self._said_ns[key] >= LOUD_EVERY_NS:
            self._said_ns[key] = now_ns
            log.log(level, text, *values, exc_info=bug)
