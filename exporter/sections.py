"""Every setting of whence, in one place: sections of the settings file with defaults, units, bounds, and what they demand of each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, create_model, model_validator

from engine.records import SECOND_NS, ChangeType
from engine.settings import EngineSettings
from exporter.changes.log_record import EVENT_TYPES
from exporter.decode.decoder import How
from exporter.times import utc_offsets


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port of host:port; IPv6 hosts stand in brackets.

    >>> split_endpoint("127.0.0.1:4317"), split_endpoint("[::1]:0")
    (('127.0.0.1', 4317), ('::1', 0))

    Raises: ValueError if it is not of that form.
    """
    host, colon, port = endpoint.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"must be HOST:PORT with a port of 0 to 65535, however: {endpoint!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address must stand in brackets, as in [::1]:4317, however: {endpoint!r}")
    return host, int(port)


def _endpoint(value: str) -> str:
    split_endpoint(value)
    return value


def _time_zone(value: str) -> str:
    utc_offsets(value)
    return value


TimeZone = Annotated[str, AfterValidator(_time_zone)]
Endpoint = Annotated[str, AfterValidator(_endpoint)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tls(Section):
    """TLS of a server. Both files, or none."""

    cert_file: str = Field(default="", description="PEM certificate chain; empty: no TLS")
    key_file: str = Field(default="", description="PEM private key")
    client_ca_file: str = Field(default="", description="PEM certificates that clients must be signed by (mTLS); empty: any client")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file go together: set both or none")
        if self.client_ca_file and not self.cert_file:
            raise ValueError("client_ca_file needs cert_file and key_file")
        return self


def _secret(value: SecretStr, file: str) -> str:
    if not file:
        return value.get_secret_value()
    text = Path(file).read_text(encoding="utf-8").strip()
    if not text:
        raise ValueError(f"token file {file} is empty")
    return text


class Token(Section):
    """A bearer token, here or in a file that is read again on reload."""

    bearer_token: SecretStr = Field(default=SecretStr(""), description="token that callers must send; empty: anyone may call")
    bearer_token_file: str = Field(default="", description="file that holds the token instead; read again on reload")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.bearer_token.get_secret_value() and self.bearer_token_file:
            raise ValueError("bearer_token and bearer_token_file exclude each other")
        return self

    def token(self) -> str:
        """The token, "" for none. Raises: OSError if its file cannot be read, ValueError if that is empty."""
        return _secret(self.bearer_token, self.bearer_token_file)


class Grpc(Section):
    """OTLP over gRPC."""

    enabled: bool = True
    endpoint: Endpoint = Field(default="127.0.0.1:4317", description="where to listen for OTLP/gRPC; port 0 takes a free one")
    workers: int = Field(default=4, ge=1, le=64, description="threads that decode requests")
    tls: Tls = Tls()


class Http(Section):
    """OTLP over HTTP."""

    enabled: bool = True
    endpoint: Endpoint = Field(default="127.0.0.1:4318", description="where to listen for OTLP/HTTP (protobuf and JSON)")
    connections: int = Field(default=64, ge=1, le=4096, description="connections at a time; more are asked to come again")
    tls: Tls = Tls()


class Receiver(Section):
    """How telemetry comes in."""

    grpc: Grpc = Grpc()
    http: Http = Http()
    auth: Token = Field(default=Token(), description="token that senders of telemetry must present")
    max_message_mib: int = Field(default=64, ge=1, le=1024, description="largest request, before and after decompression, MiB")
    retry_after_seconds: int = Field(default=5, ge=1, le=300, description="what senders are told to wait when there is no room")
    hints_an_hour: int = Field(default=6, ge=0, le=1000, description="warnings to senders in an hour; the Collector logs each")
    change_events: dict[str, ChangeType] = Field(
        default_factory=lambda: dict(EVENT_TYPES), description="event names of log records that are changes, and the type of each"
    )
    decoder: How = Field(default="auto", description="auto: the compiled one where it was built; plain: slower, to compare with")
    in_flight_mib: int = Field(default=64, ge=1, le=65536, description="requests held at a time, MiB; beyond it senders are asked to retry")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.in_flight_mib < self.max_message_mib:
            raise ValueError(
                f"in_flight_mib must hold one largest request, however: in_flight_mib={self.in_flight_mib} < "
                f"max_message_mib={self.max_message_mib}"
            )
        return self


class Web(Section):
    """The web port: status page, metrics, API, health."""

    endpoint: Endpoint = Field(default="127.0.0.1:4319", description="where to listen for /, /metrics, /api/v1, /healthz, /readyz")
    external_url: str = Field(
        default="", description="address under which people reach this port, for links in annotations", pattern=r"^(https?://.*)?$"
    )
    auth: Token = Field(default=Token(), description="token for /api/v1 and /-/reload")
    max_body_kib: int = Field(default=1024, ge=1, le=65536, description="largest request body, KiB")
    timeout_seconds: float = Field(default=10.0, gt=0, le=300, description="time for a request to arrive and to be answered")


class Store(Section):
    """What outlives the process."""

    path: Name = Field(default="whence-data", description="folder for incidents, changes, engine state and models")
    state_interval_seconds: float = Field(default=300.0, ge=10, description="event time between two saves of the engine's state")
    retention_days: float = Field(default=90.0, gt=0, le=36500, description="incidents and changes older than this are removed")
    max_incidents: int = Field(default=100_000, ge=100, description="resolved incidents kept")
    max_changes: int = Field(default=500_000, ge=100, description="changes kept")


class Trainer(Section):
    """Learning in a second process."""

    enabled: bool = Field(default=True, description="train models on the stream; without it evidence that needs no model remains")
    timeout_seconds: float = Field(default=600.0, gt=0, description="a training that takes longer is stopped")


class LogSink(Section):
    """Incidents as JSON lines."""

    enabled: bool = Field(default=True, description="write every publication of an incident as one JSON line to standard output")


class AnnotationSink(Section):
    """Incidents and changes as annotations of a Grafana."""

    url: str = Field(
        default="", description="Grafana's address, as in http://grafana:3000; empty: no annotations", pattern=r"^(https?://[^\s/].*)?$"
    )
    token: SecretStr = Field(default=SecretStr(""), description="service account token with annotations:create, :write, :read")
    token_file: str = Field(default="", description="file that holds the token instead; read again on reload")
    dashboard_uid: str = Field(default="", description="dashboard the annotations belong to; empty: the organisation")
    panel_id: int = Field(default=0, ge=0, description="panel of that dashboard; 0: all")
    changes: bool = Field(default=True, description="changes, too, as points")
    queue: int = Field(default=1000, ge=1, le=1_000_000, description="annotations waiting at most; the oldest are dropped and counted")
    timeout_seconds: float = Field(default=5.0, gt=0, le=300, description="time for one request")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.token.get_secret_value() and self.token_file:
            raise ValueError("token and token_file exclude each other")
        if self.panel_id and not self.dashboard_uid:
            raise ValueError("panel_id needs dashboard_uid")
        return self

    def read_token(self) -> str:
        """The token, "" for none. Raises: OSError if its file cannot be read, ValueError if that is empty."""
        return _secret(self.token, self.token_file)


class Sinks(Section):
    """Where findings go."""

    log: LogSink = LogSink()
    annotations: AnnotationSink = AnnotationSink()


class Log(Section):
    """whence's own events, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severe event that is written")
    format: Literal["logfmt", "json"] = Field(default="logfmt", description="how an event is written")


def _engine_fields() -> Iterator[tuple[str, Any]]:
    """(name, (type, Field)) of every engine setting; durations in seconds instead of nanoseconds. `live` is not for people to choose."""
    defaults = EngineSettings()
    for name, kind in get_type_hints(EngineSettings).items():
        default = getattr(defaults, name)
        if name == "live":
            continue
        if name == "utc_offsets":
            description = "IANA name of the time zone whose days and weeks count for what is usual at an hour"
            yield "time_zone", (TimeZone, Field("UTC", description=description))
            continue
        if name.endswith("_ns"):
            yield name.removesuffix("_ns") + "_seconds", (float, Field(default / SECOND_NS, gt=0, description="seconds of event time"))
        elif kind in (int, float):
            yield name, (kind, Field(default, ge=0))
        else:
            yield name, (kind, Field(default))


class _EngineChecks(Section):
    """What one engine setting demands of another."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        fields: dict[str, Any] = dict(self)  # made by create_model: unknown to mypy
        window = fields["window_seconds"]
        for name in ("sliding_seconds", "block_seconds"):
            value = fields[name]
            if value < window or (value / window) % 1 > 1e-9:
                raise ValueError(f"{name} must be a multiple of window_seconds, however: {name}={value:g}, window_seconds={window:g}")
        return self


Engine = create_model("Engine", __base__=_EngineChecks, __doc__="How the engine decides.", **dict(_engine_fields()))


class Config(Section):
    """All settings."""

    receiver: Receiver = Receiver()
    web: Web = Web()
    store: Store = Store()
    trainer: Trainer = Trainer()
    sinks: Sinks = Sinks()
    log: Log = Log()
    engine: Engine = Engine()  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _ports(self) -> Self:
        taken: dict[int, str] = {}
        listeners = [("web.endpoint", self.web.endpoint)]
        listeners += [("receiver.grpc.endpoint", self.receiver.grpc.endpoint)] if self.receiver.grpc.enabled else []
        listeners += [("receiver.http.endpoint", self.receiver.http.endpoint)] if self.receiver.http.enabled else []
        for name, endpoint in listeners:
            port = split_endpoint(endpoint)[1]
            if port and port in taken:
                raise ValueError(f"{name} and {taken[port]} both have port {port}")
            taken[port] = name
        return self


def engine_settings(config: Config, *, live: bool) -> EngineSettings:
    """The engine section as the engine takes it. live: received time is the real clock."""
    values: dict[str, Any] = {"live": live}
    for each in dataclasses.fields(EngineSettings):
        if each.name.endswith("_ns"):
            values[each.name] = round(getattr(config.engine, each.name.removesuffix("_ns") + "_seconds") * SECOND_NS)
        elif each.name == "utc_offsets":
            values[each.name] = utc_offsets(config.engine.time_zone)  # type: ignore[attr-defined]
        elif each.name != "live":
            values[each.name] = getattr(config.engine, each.name)
    return EngineSettings(**values)
