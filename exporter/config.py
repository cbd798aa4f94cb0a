"""Reads the settings: one YAML file plus the environment, checked at start; what is unknown or impossible is named."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from exporter.sections import Config

PREFIX = "WHENCE_"
#: Variables with our prefix that are no settings; Kubernetes adds the second kind for every Service called "whence".
NOT_SETTINGS = re.compile(r"WHENCE_(CONFIG|RECORDINGS|URL)|WHENCE_(PORT|SERVICE_HOST|SERVICE_PORT).*")


class ConfigError(Exception):
    """The settings are wrong; `problems` has one line for each, every one naming its setting."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def setting_names(model: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    """Dotted names of every setting, in order of the sections.

    >>> "receiver.grpc.endpoint" in setting_names()
    True
    """
    names = []
    for name, info in model.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            names += setting_names(inner, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _sections() -> list[str]:
    names = setting_names()
    return sorted({name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)})


def nearest(name: str) -> str:
    """The setting or section that a mistyped name most resembles, "" if none does.

    >>> nearest("receiver.grpc.endpont"), nearest("recievers")
    ('receiver.grpc.endpoint', 'receiver')
    """
    found = difflib.get_close_matches(name, setting_names() + _sections(), n=1, cutoff=0.6)
    return found[0] if found else ""


def _problems(error: ValidationError) -> list[str]:
    lines = []
    for each in error.errors(include_url=False):
        name = ".".join(str(part) for part in each["loc"])
        if each["type"] == "extra_forbidden":
            guess = nearest(name)
            lines.append(f"{name}: unknown setting" + (f"; did you mean {guess}?" if guess else ""))
            continue
        message = each["msg"].removeprefix("Value error, ").replace("Input should", "must").replace("a valid dictionary or", "a mapping or")
        message = re.sub(r"a mapping or instance of \w+", "a mapping", message)
        secret = "token" in name.rsplit(".", 1)[-1]
        shown = "" if isinstance(each["input"], dict | BaseModel) or secret or "however" in message else f", however: {each['input']!r}"
        lines.append(f"{name}: {message}{shown}" if name else f"{message}{shown}")
    return lines


def from_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Settings in the environment as nested values, and what is wrong with its names.

    WHENCE_RECEIVER__GRPC__ENDPOINT=0.0.0.0:4317 sets receiver.grpc.endpoint; values are read as YAML.

    >>> from_environment({"WHENCE_WEB__MAX_BODY_KIB": "64"})
    ({'web': {'max_body_kib': 64}}, [])
    """
    values: dict[str, Any] = {}
    problems = []
    flat = {re.sub(r"[._]+", "_", name): name for name in setting_names()}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or NOT_SETTINGS.fullmatch(variable):
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        if len(path) == 1:
            meant = flat.get(path[0])
            if meant:
                problems.append(f"{variable}: unknown; did you mean {PREFIX}{meant.replace('.', '__').upper()}?")
            continue  # somebody else's variable
        if ".".join(path) not in flat.values():
            guess = nearest(".".join(path))
            problems.append(
                f"{variable}: unknown setting" + (f"; did you mean {PREFIX}{guess.replace('.', '__').upper()}?" if guess else "")
            )
            continue
        inner = values
        for part in path[:-1]:
            inner = inner.setdefault(part, {})
        text = environ[variable]
        try:
            inner[path[-1]] = text if "token" in path[-1] or "file" in path[-1] else yaml.safe_load(text)
        except yaml.YAMLError:
            inner[path[-1]] = text
    return values, problems


def _filled(values: dict[str, Any], sections: set[str], prefix: str = "") -> dict[str, Any]:
    """`receiver:` with everything below it commented out is an empty section, not a null."""
    filled: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if name in sections and (value is None or isinstance(value, dict)):
            value = _filled(value or {}, sections, f"{name}.")  # noqa: PLW2901
        filled[key] = value
    return filled


def _overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _overlay(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def parse(text: str, environ: Mapping[str, str], source: str = "settings") -> Config:
    """Settings of a YAML text with the environment laid over it. Raises: ConfigError with every problem found."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"{source}: not YAML: {' '.join(str(error).split())}"]) from None
    if read is None:
        read = {}
    if not isinstance(read, dict):
        raise ConfigError([f"{source}: must be a mapping of settings, however: {type(read).__name__}"])
    read = _filled(read, set(_sections()))
    above, problems = from_environment(environ)
    try:
        config = Config.model_validate(_overlay(read, above))
    except ValidationError as error:
        raise ConfigError(problems + _problems(error)) from None
    if problems:
        raise ConfigError(problems)
    return config


def find(path: str | None, environ: Mapping[str, str]) -> Path | None:
    """The settings file: the one named, else WHENCE_CONFIG, else whence.yaml here, else none."""
    named = path or environ.get("WHENCE_CONFIG")
    if named:
        return Path(named)
    here = Path("whence.yaml")
    return here if here.is_file() else None


def load(path: str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Settings of a file and the environment. Raises: ConfigError, also for a file that cannot be read."""
    environ = os.environ if environ is None else environ
    file = find(path, environ)
    if file is None:
        return parse("", environ)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([f"{file}: cannot be read: {reason}"]) from None
    return parse(text, environ, str(file))


def shown(config: Config) -> dict[str, Any]:
    """The settings in effect, secrets hidden."""
    return config.model_dump(mode="json")
