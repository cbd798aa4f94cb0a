"""Which service a nameless resource belongs to: the one seen with the same pod, container or host."""

from __future__ import annotations

from engine.records import Resource
from engine.strings import Resources

#: Most pods, containers, instances and hosts remembered.
CAP = 65536


class Identity:
    """Joins of resources by pod, container, instance and host.

    A key seen with two services (a host that many share) joins nothing.
    """

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self.revision = 0  # rises when a key is learnt or becomes ambiguous
        self._known = 0
        self._service: dict[tuple[str, str], str] = {}  # "" when ambiguous

    def learn(self) -> None:
        """Read the resources that came since the last call."""
        for code in range(self._known, len(self.resources)):
            resource = self.resources[code]
            if not resource.service:
                continue
            for key in self._keys(resource):
                known = self._service.get(key)
                if known is None and len(self._service) < CAP:
                    self._service[key] = resource.service
                    self.revision += 1
                elif known and known != resource.service:
                    self._service[key] = ""
                    self.revision += 1
        self._known = len(self.resources)

    def service(self, resource: Resource) -> str:
        """The resource's own service, or the one it joins; "" if none. The narrowest key decides: container, pod, instance, host."""
        if resource.service:
            return resource.service
        for key in self._keys(resource):
            if service := self._service.get(key):
                return service
        return ""

    @staticmethod
    def _keys(resource: Resource) -> list[tuple[str, str]]:
        named = (("container", resource.container), ("pod", resource.pod), ("instance", resource.instance), ("host", resource.host))
        return [key for key in named if key[1]]
