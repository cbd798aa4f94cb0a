"""Changes: kept once, found by time, inferred from versions, the same after a restart."""

from __future__ import annotations

import json
from dataclasses import replace

from engine.records import HOUR_NS, MINUTE_NS, SECOND_NS, ChangeType, ConfigChange, Param, Resource, Window
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.changes import Changes
from tests.point_columns import Point, window


def with_version(time_s: float, version: str, resources: Resources, *, image: str = "", environment: str = "") -> Window:
    """A window with one point of a service that tells its version."""
    sender = Resource(service="cart", version=version, image=image, environment=environment)
    made = window([Point(time_s, "up", 1.0, resource=sender)], Strings(), resources)
    return replace(made, start_ns=round(time_s * SECOND_NS), end_ns=round(time_s * SECOND_NS) + 10 * SECOND_NS)


def told(change: ConfigChange, resources: Resources) -> Window:
    """A window that holds one change."""
    made = window([], Strings(), resources)
    return replace(made, start_ns=change.time_ns, end_ns=change.time_ns + 10 * SECOND_NS, changes=(change,))


def deploy(identity: str, time_ns: int, version: str = "v2", service: str = "cart") -> ConfigChange:
    """An announced deployment."""
    return ConfigChange(identity, time_ns, ChangeType.DEPLOYMENT, service, version=version)


def test_a_change_that_is_told_twice_is_kept_once() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    first = deploy("d1", MINUTE_NS)
    assert changes.take(told(first, resources)) == (first,)
    assert changes.take(told(replace(first, time_ns=2 * MINUTE_NS), resources)) == ()
    assert changes.between(0, HOUR_NS) == (first,)
    assert changes.dropped["duplicate"] == 1


def test_a_new_version_is_a_rollout_and_the_first_one_seen_is_none() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    assert changes.take(with_version(60, "v1", resources)) == ()
    (rollout,) = changes.take(with_version(120, "v2", resources))
    assert (rollout.service, rollout.version, rollout.inferred, rollout.time_ns) == ("cart", "v2", True, 120 * SECOND_NS)
    assert rollout.params == (Param("service.version", "v1", "v2"),)
    assert changes.take(with_version(130, "v1", resources)) == ()  # old instances still report during a rollout
    assert changes.take(with_version(140, "v2", resources)) == ()


def test_an_image_tells_where_no_version_does() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    changes.take(with_version(60, "", resources, image="cart:7"))
    (rollout,) = changes.take(with_version(120, "", resources, image="cart:8"))
    assert rollout.params == (Param("container.image", "cart:7", "cart:8"),)


def test_versions_of_two_environments_are_no_rollout() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    changes.take(with_version(60, "v1", resources, environment="prod"))
    assert changes.take(with_version(120, "v2", resources, environment="staging")) == ()


def test_an_announced_deployment_takes_the_place_of_the_inferred_one_whichever_comes_first() -> None:
    resources = Resources()
    announced = deploy("d1", 100 * SECOND_NS)
    for order in ("announced", "seen"):
        changes = Changes(resources, EngineSettings())
        changes.take(with_version(60, "v1", resources))
        windows = [told(announced, resources), with_version(120, "v2", resources)]
        for each in windows if order == "announced" else reversed(windows):
            changes.take(each)
        assert changes.between(0, HOUR_NS) == (announced,), order


def test_old_changes_and_too_many_are_dropped() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings(), cap=2)
    for number in range(3):
        changes.take(told(deploy(f"d{number}", number * MINUTE_NS, f"v{number}"), resources))
    assert [change.id for change in changes.between(0, HOUR_NS)] == ["d1", "d2"]
    assert changes.dropped["cap"] == 1
    changes.take(told(deploy("later", 6 * HOUR_NS, "v9"), resources))
    assert [change.id for change in changes.between(0, 9 * HOUR_NS)] == ["later"]


def test_state_survives_as_json() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    changes.take(with_version(60, "v1", resources))
    flag = ConfigChange(
        "f1", MINUTE_NS, ChangeType.FEATURE_FLAG, "cart", flag_key="k", params=(Param("k", "off", "on"),), files=("a.go", "b.go")
    )
    changes.take(told(flag, resources))
    again = Changes(resources, EngineSettings())
    again.restore(json.loads(json.dumps(changes.state())))
    assert again.between(0, HOUR_NS) == changes.between(0, HOUR_NS)
    assert [change.version for change in again.take(with_version(120, "v2", resources))] == ["v2"]


def test_an_empty_window_changes_nothing() -> None:
    resources = Resources()
    changes = Changes(resources, EngineSettings())
    quiet = window([], Strings(), resources)
    assert changes.take(quiet) == ()
    assert len(changes) == 0
