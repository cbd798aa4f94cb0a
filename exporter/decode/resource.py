"""Resource attributes to engine.records.Resource, by semantic conventions."""

from __future__ import annotations

from collections.abc import Mapping

from engine.records import Resource

#: Own telemetry would make whence explain itself; it is dropped and counted.
OWN_SERVICE = "whence"
UNKNOWN_SERVICE = "unknown_service"  # what SDKs say without a name: unknown_service, unknown_service:java

#: Every resource attribute that is read, in the order of preference within a field.
ENVIRONMENT = ("deployment.environment.name", "deployment.environment")
ZONE = ("cloud.availability_zone", "cloud.region")
HOST = ("host.name", "k8s.node.name", "host.id")
INSTANCE = ("service.instance.id", "k8s.pod.name", "container.id")
POD = ("k8s.pod.name",)
CONTAINER = ("container.id",)
VERSION = ("service.version",)
IMAGE = ("container.image.repo_digests", "container.image.id", "container.image.tags", "container.image.tag", "container.image.name")
SERVICE = ("service.name", "service.namespace")
RESOURCE_KEYS = frozenset((*SERVICE, *ENVIRONMENT, *ZONE, *HOST, *INSTANCE, *POD, *CONTAINER, *VERSION, *IMAGE))


def resource_of(found: Mapping[str, str]) -> Resource:
    """Who sends, from resource attributes as texts.

    >>> resource_of({"service.name": "cart", "service.namespace": "shop", "k8s.pod.name": "cart-1"}).service
    'shop/cart'
    >>> resource_of({"service.name": "unknown_service:java", "host.name": "n1"})[:4]
    ('', '', '', 'n1')
    """
    name = found.get("service.name", "")
    if name.startswith(UNKNOWN_SERVICE):
        name = ""
    namespace = found.get("service.namespace", "")
    return Resource(
        service=f"{namespace}/{name}" if namespace and name else name,
        environment=first(found, ENVIRONMENT),
        zone=first(found, ZONE),
        host=first(found, HOST),
        instance=first(found, INSTANCE),
        pod=first(found, POD),
        container=first(found, CONTAINER),
        version=first(found, VERSION),
        image=first(found, IMAGE),
    )


def first(found: Mapping[str, str], keys: tuple[str, ...]) -> str:
    """The first of the keys that has a value, "" if none has."""
    for key in keys:
        value = found.get(key)
        if value:
            return value
    return ""
