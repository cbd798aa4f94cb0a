"""Shape A: a log record that says what was changed, by event name, semantic conventions and `rca.change.*`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import orjson

from engine.records import ChangeType, ConfigChange, Param, Resource
from exporter.changes.secrets import content_id, scrubbed, scrubbed_text

#: Event names that mark a log record as a change, and the type of change that they mean; the settings may name others.
EVENT_TYPES: Mapping[str, ChangeType] = MappingProxyType({str(each): each for each in ChangeType})

FILES_CAP = 500
PARAMS_CAP = 100
LONGEST_DIFF = 65_536
LONGEST_SUMMARY = 1024
LONGEST_TEXT = 256
LONGEST_VALUE = 1024
COUNT_MAX = 1 << 31

ID = ("rca.change.id",)
SERVICE = ("rca.change.service", "service.name")
ENVIRONMENT = ("deployment.environment.name", "deployment.environment")
ACTOR = ("user.name", "rca.change.actor", "user.email", "user.id", "enduser.id")
VERSION = ("service.version",)
REVISION = ("vcs.ref.head.revision", "vcs.repository.ref.revision")
DEPLOYMENT = ("deployment.id",)
FLAG = ("feature_flag.key",)
VARIANT = ("feature_flag.result.variant", "feature_flag.variant")


def change_of(change_type: ChangeType, time_ns: int, resource: Resource, attributes: Mapping[str, Any], body: str) -> ConfigChange:
    """The change that a log record announces.

    The id is `rca.change.id`, else `deployment.id`, else a hash of the content: what is sent twice is one change.
    The service is the resource's, since that is the service that changed; values that look like secrets never get in.

    >>> change_of(ChangeType.DEPLOYMENT, 1, Resource(service="cart"), {"service.version": "v2"}, "deployed cart v2").version
    'v2'
    """
    deployment_id = text(attributes, DEPLOYMENT)
    files = texts(attributes.get("rca.change.files"))
    change = ConfigChange(
        id="",
        time_ns=time_ns,
        type=change_type,
        service=resource.service or text(attributes, SERVICE),
        environment=resource.environment or text(attributes, ENVIRONMENT),
        kind=text(attributes, ("rca.change.type",)),
        actor=text(attributes, ACTOR),
        version=text(attributes, VERSION) or (resource.version if change_type is ChangeType.DEPLOYMENT else ""),
        revision=text(attributes, REVISION),
        deployment_id=deployment_id,
        flag_key=text(attributes, FLAG),
        flag_variant=text(attributes, VARIANT),
        files=files,
        files_changed=count(attributes.get("rca.change.files_changed")) or len(files),
        lines_added=count(attributes.get("rca.change.lines_added")),
        lines_removed=count(attributes.get("rca.change.lines_removed")),
        params=scrubbed(params(attributes)),
        summary=scrubbed_text((written(attributes.get("rca.change.summary")) or body)[:LONGEST_SUMMARY]),
        diff=scrubbed_text(written(attributes.get("rca.change.diff"))[:LONGEST_DIFF]),
    )
    return content_id(change, text(attributes, ID) or deployment_id)


def params(attributes: Mapping[str, Any]) -> tuple[Param, ...]:
    """Changed parameters: `rca.change.params` maps names to new values or lists names; old and new value stand beside a single one."""
    held = attributes.get("rca.change.params")
    old, new = written(attributes.get("rca.change.old_value")), written(attributes.get("rca.change.new_value"))
    if isinstance(held, Mapping):
        pairs = [(str(name), written(value)) for name, value in held.items()]
    else:
        pairs = [(name, "") for name in texts(held)]
    if not pairs and (old or new):
        name = text(attributes, FLAG) or text(attributes, ("rca.change.param", "rca.change.type"))
        pairs = [(name, new)]
    alone = len(pairs) == 1
    return tuple(
        Param(name[:LONGEST_TEXT], (old if alone else "")[:LONGEST_VALUE], (value or (new if alone else ""))[:LONGEST_VALUE])
        for name, value in pairs[:PARAMS_CAP]
    )


def text(attributes: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """The first of the attributes that has a value, as text."""
    for key in keys:
        value = written(attributes.get(key))
        if value:
            return value[:LONGEST_TEXT]
    return ""


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; one text is split at line ends and commas."""
    if isinstance(value, str):
        value = value.replace("\n", ",").split(",")
    if not isinstance(value, list):
        return ()
    return tuple(part for part in (written(each).strip()[:LONGEST_VALUE] for each in value[:FILES_CAP]) if part)


def written(value: Any) -> str:
    """A plain value as text, "" for none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        try:
            return orjson.dumps(value).decode()
        except TypeError:
            return str(value)
    return str(value)


def count(value: Any) -> int:
    """A count >= 0; 0 for what is none."""
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
    return number if 0 <= number < COUNT_MAX else 0
