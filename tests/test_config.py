"""Settings: defaults, environment, and mistakes that name the setting."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jsonschema
import pytest

from engine.settings import EngineSettings
from exporter import config
from exporter.config import ConfigError
from exporter.sections import Config, engine_settings


def problems(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, environ or {})
    return caught.value.problems


def test_without_a_file_every_default_is_loopback() -> None:
    made = config.parse("", {})
    assert [
        made.receiver.grpc.endpoint,
        made.receiver.http.endpoint,
        made.web.endpoint,
    ] == ["127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:4319"]


def test_the_engine_section_mirrors_the_settings_of_the_engine() -> None:
    """A setting that somebody adds to the engine can be set the same day, and defaults are never written twice."""
    assert dataclasses.replace(EngineSettings(), live=True) == engine_settings(config.parse("", {}), live=True)
    set_differently = config.parse("engine: {window_seconds: 20, sliding_seconds: 240, block_seconds: 60.0, rows: false}", {})
    made = engine_settings(set_differently, live=False)
    assert (made.window_ns, made.sliding_ns, made.rows, made.live) == (20_000_000_000, 240_000_000_000, False, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("recievers: {}", "recievers: unknown setting; did you mean receiver?"),
        ("receiver: {grpc: {endpont: 'x:1'}}", "receiver.grpc.endpont: unknown setting; did you mean receiver.grpc.endpoint?"),
        ("zzz: 1", "zzz: unknown setting"),
        ("web: {endpoint: 127.0.0.1:4317}", "receiver.grpc.endpoint and web.endpoint both have port 4317"),
        ("web: {endpoint: localhost}", "web.endpoint: must be HOST:PORT with a port of 0 to 65535, however: 'localhost'"),
        ("web: {endpoint: 'h:70000'}", "web.endpoint: must be HOST:PORT with a port of 0 to 65535, however: 'h:70000'"),
        ("engine: {window_seconds: 0}", "engine.window_seconds: must be greater than 0, however: 0"),
        (
            "engine: {block_seconds: 61}",
            "engine: block_seconds must be a multiple of window_seconds, however: block_seconds=61, window_seconds=10",
        ),
        ("receiver: {grpc: {tls: {cert_file: a.pem}}}", "receiver.grpc.tls: cert_file and key_file go together: set both or none"),
        (
            "receiver: {in_flight_mib: 3}",
            "receiver: in_flight_mib must hold one largest request, however: in_flight_mib=3 < max_message_mib=64",
        ),
        ("receiver: 3", "receiver: must be a mapping, however: 3"),
        ("- a", "settings: must be a mapping of settings, however: list"),
        ("sinks: {annotations: {panel_id: 3}}", "sinks.annotations: panel_id needs dashboard_uid"),
        ("web: {timeout_seconds: .nan}", "web.timeout_seconds: must be a finite number, however: nan"),
    ],
)
def test_what_is_impossible_is_named(text: str, expected: str) -> None:
    assert [expected] == problems(text)


def test_all_mistakes_are_told_at_once() -> None:
    assert problems("web: {port: 1}\nstore: {retention_days: -1}") == [
        "web.port: unknown setting; did you mean web.endpoint?",
        "store.retention_days: must be greater than 0, however: -1",
    ]


def test_a_section_with_everything_commented_out_is_empty() -> None:
    assert config.parse("", {}) == config.parse("receiver:\n  grpc:\nweb:\n", {})


def test_the_environment_goes_over_the_file() -> None:
    made = config.parse(
        "receiver: {grpc: {endpoint: 127.0.0.1:5000, workers: 2}}",
        {"WHENCE_RECEIVER__GRPC__ENDPOINT": "0.0.0.0:4317", "WHENCE_SINKS__LOG__ENABLED": "false", "PATH": "/bin"},
    )
    assert (made.receiver.grpc.endpoint, made.receiver.grpc.workers, made.sinks.log.enabled) == ("0.0.0.0:4317", 2, False)


def test_a_token_of_digits_stays_a_text() -> None:
    assert config.parse("", {"WHENCE_WEB__AUTH__BEARER_TOKEN": "0123"}).web.auth.token() == "0123"


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("WHENCE_WEB__ENDPONT", "WHENCE_WEB__ENDPONT: unknown setting; did you mean WHENCE_WEB__ENDPOINT?"),
        ("WHENCE_WEB_ENDPOINT", "WHENCE_WEB_ENDPOINT: unknown; did you mean WHENCE_WEB__ENDPOINT?"),
    ],
)
def test_a_mistyped_variable_is_named(variable: str, expected: str) -> None:
    assert [expected] == problems("", {variable: "127.0.0.1:1"})


def test_variables_that_kubernetes_sets_for_a_service_called_whence_are_no_settings() -> None:
    environ = {"WHENCE_SERVICE_HOST": "10.0.0.1", "WHENCE_PORT": "tcp://10.0.0.1:4317", "WHENCE_PORT_4317_TCP_ADDR": "10.0.0.1"}
    assert Config() == config.parse("", environ)


def test_secrets_are_hidden_when_shown() -> None:
    made = config.parse("web: {auth: {bearer_token: hush}}\nsinks: {annotations: {url: 'http://g', token: hush}}", {})
    assert "hush" not in repr(made)
    assert config.shown(made)["web"]["auth"]["bearer_token"] == "**********"
    assert "hush" not in str(config.shown(made))


def test_a_wrong_secret_is_not_repeated_in_the_complaint() -> None:
    assert problems("web: {auth: {bearer_token: [hush]}}") == ["web.auth.bearer_token: must be a valid string"]


def test_a_token_file_is_read_when_asked(tmp_path: Path) -> None:
    file = tmp_path / "token"
    made = config.parse(f"web: {{auth: {{bearer_token_file: {file}}}}}", {})
    file.write_text("one\n")
    assert made.web.auth.token() == "one"
    file.write_text("two\n")
    assert made.web.auth.token() == "two"
    file.write_text("\n")
    with pytest.raises(ValueError, match="is empty"):
        made.web.auth.token()


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        config.load(str(tmp_path / "none.yaml"), {})


def test_the_schema_accepts_what_we_accept_and_refuses_what_we_refuse() -> None:
    schema = Config.model_json_schema()
    jsonschema.validate({"receiver": {"grpc": {"endpoint": "0.0.0.0:4317"}}, "engine": {"window_seconds": 10}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"receiver": {"grcp": {}}}, schema)


def test_every_setting_outside_the_engine_says_what_it_is_for() -> None:
    """`enabled` and `workers` of a server need no words; everything with a unit or an effect has them."""

    def undescribed(model: type, prefix: str = "") -> list[str]:
        found = []
        for name, info in model.model_fields.items():  # type: ignore[attr-defined]
            inner = info.annotation
            if hasattr(inner, "model_fields"):
                found += undescribed(inner, f"{prefix}{name}.")
            elif not info.description and not prefix.startswith("engine."):
                found.append(prefix + name)
        return found

    assert undescribed(Config) == ["receiver.grpc.enabled", "receiver.http.enabled"]


def test_the_time_zone_is_checked_at_start_and_reaches_the_engine_as_offsets() -> None:
    (problem,) = problems("engine: {time_zone: Europe/Atlantis}")
    assert problem.startswith("engine.time_zone: must be a time zone that this machine knows")
    assert engine_settings(config.parse("", {}), live=True).utc_offsets == ()
    offsets = engine_settings(config.parse("engine: {time_zone: Asia/Kolkata}", {}), live=True).utc_offsets
    assert [offset_ns // 1_000_000_000 for _, offset_ns in offsets] == [19800]
