"""Changes by id, bounded in number and age; and rollouts that nobody announced, seen as a new version on a service's resource."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

from engine.records import MINUTE_NS, ChangeType, ConfigChange, Param, Resource, Window
from engine.settings import EngineSettings
from engine.strings import Resources
from engine.take.senders import sent

CHANGES_CAP = 4096
SERVICES_CAP = 4096
VERSIONS_CAP = 8  # remembered a service and environment: a version that comes back after that is new again
#: A new version this soon before or after an announced deployment of the service is that deployment.
ANNOUNCED_NS = 15 * MINUTE_NS


class Changes:
    """What changed on purpose. Duplicates (an id that is known) are counted, not kept; an announced deploy replaces an inferred one."""

    def __init__(self, resources: Resources, settings: EngineSettings, *, cap: int = CHANGES_CAP) -> None:
        self.dropped: Counter[str] = Counter()  # duplicate, cap
        self._resources, self._keep_ns, self._cap = resources, settings.changes_ns, cap
        self._changes: dict[str, ConfigChange] = {}
        self._versions: OrderedDict[tuple[str, str], list[str]] = OrderedDict()  # (service, environment) -> versions, newest last

    def __len__(self) -> int:
        return len(self._changes)

    def take(self, window: Window) -> tuple[ConfigChange, ...]:
        """Add a window's changes and the rollouts that its resources show. Returns the new ones, oldest first."""
        new = [change for change in sorted(window.changes, key=lambda each: (each.time_ns, each.id)) if self._add(change)]
        for change in self._rollouts(window):
            if not self._announced(change) and self._add(change):
                new.append(change)
        self._forget(window.end_ns - self._keep_ns)
        return tuple(sorted(new, key=lambda each: (each.time_ns, each.id)))

    def between(self, start_ns: int, end_ns: int) -> tuple[ConfigChange, ...]:
        """Changes with start <= time <= end, oldest first."""
        found = [change for change in self._changes.values() if start_ns <= change.time_ns <= end_ns]
        return tuple(sorted(found, key=lambda each: (each.time_ns, each.id)))

    def _add(self, change: ConfigChange) -> bool:
        if change.id in self._changes:
            self.dropped["duplicate"] += 1
            return False
        if not change.inferred and change.type is ChangeType.DEPLOYMENT:
            for other in [each for each in self._changes.values() if each.inferred and _same_rollout(each, change)]:
                del self._changes[other.id]
        if len(self._changes) >= self._cap:
            self.dropped["cap"] += 1
            del self._changes[min(self._changes.values(), key=lambda each: (each.time_ns, each.id)).id]
        self._changes[change.id] = change
        return True

    def _announced(self, change: ConfigChange) -> bool:
        return any(_same_rollout(change, each) for each in self._changes.values() if not each.inferred)

    def _rollouts(self, window: Window) -> Iterator[ConfigChange]:
        """New versions, or images where no version is told, in order of time."""
        first_ns: dict[int, int] = {}
        for columns in (window.spans, window.logs, window.points):
            found = sent(columns.resource)
            times = columns.time_ns[found.first]  # columns are sorted by time
            for code, time_ns in zip(found.resource.tolist(), times.tolist(), strict=True):
                first_ns[code] = min(time_ns, first_ns.get(code, time_ns))
        for code, time_ns in sorted(first_ns.items(), key=lambda each: (each[1], each[0])):
            resource = self._resources[code]
            version = resource.version or resource.image
            if resource.service and version:
                change = self._seen(resource, version, time_ns)
                if change:
                    yield change

    def _seen(self, resource: Resource, version: str, time_ns: int) -> ConfigChange | None:
        place = (resource.service, resource.environment)
        versions = self._versions.get(place)
        if versions is None:
            if len(self._versions) >= SERVICES_CAP:
                self._versions.popitem(last=False)
            self._versions[place] = [version]
            return None
        if version in versions:
            return None
        before = versions[-1]
        versions.append(version)
        del versions[:-VERSIONS_CAP]
        told = "service.version" if resource.version else "container.image"
        return ConfigChange(
            id=f"rollout:{resource.service}:{version}" + (f":{resource.environment}" if resource.environment else ""),
            time_ns=time_ns,
            type=ChangeType.DEPLOYMENT,
            service=resource.service,
            environment=resource.environment,
            kind="rollout",
            version=version,
            params=(Param(told, before, version),),
            summary=f"{resource.service} reports {told} {version}, before that {before}",
            inferred=True,
        )

    def _forget(self, before_ns: int) -> None:
        for change in [each for each in self._changes.values() if each.time_ns < before_ns]:
            del self._changes[change.id]

    def state(self) -> dict[str, Any]:
        """Changes as plain values, and the versions known."""
        fields = ConfigChange.__dataclass_fields__
        return {
            "changes": [
                {name: [list(each) for each in change.params] if name == "params" else _plain(getattr(change, name)) for name in fields}
                for change in self._changes.values()
            ],
            "versions": [[service, environment, list(versions)] for (service, environment), versions in self._versions.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        for plain in state["changes"]:
            values = {**plain, "type": ChangeType(plain["type"]), "files": tuple(plain["files"])}
            change = ConfigChange(**{**values, "params": tuple(Param(*each) for each in plain["params"])})
            self._changes[change.id] = change
        for service, environment, versions in state["versions"]:
            self._versions[service, environment] = list(versions)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, ChangeType) else value


def _same_rollout(one: ConfigChange, other: ConfigChange) -> bool:
    """Both are deployments of one service, of the same version, or close to each other where one names none."""
    if one.type is not ChangeType.DEPLOYMENT or other.type is not ChangeType.DEPLOYMENT or one.service != other.service:
        return False
    if one.environment and other.environment and one.environment != other.environment:
        return False
    if one.version and other.version and (one.version == other.version or one.version.endswith(f":{other.version}")):
        return True
    return abs(one.time_ns - other.time_ns) <= ANNOUNCED_NS and (not one.version or not other.version)
