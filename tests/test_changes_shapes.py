"""Change events in every shape become the same ConfigChange; secrets never get in, values do not leave."""

from __future__ import annotations

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.records import ChangeType, ConfigChange, Param, Resource
from engine.strings import Resources, Strings
from exporter.changes.log_record import change_of
from exporter.changes.native import SCHEMA, change_from_json, change_to_json
from exporter.changes.secrets import redact
from exporter.decode.json import decode_json
from tests.otlp import lines_of, recordings

CART = Resource(service="cart", environment="prod", version="v9")


def test_a_log_record_says_everything_by_semantic_conventions():
    change = change_of(
        ChangeType.DEPLOYMENT,
        5,
        CART,
        {
            "deployment.id": "d1",
            "rca.change.type": "deploy",
            "service.version": "v2",
            "vcs.ref.head.revision": "abc",
            "user.name": "ann",
            "rca.change.files": ["a.py", "b.py"],
            "rca.change.lines_added": 4,
            "rca.change.lines_removed": "1",
            "rca.change.params": {"pool.size": 50},
            "rca.change.old_value": "10",
            "rca.change.diff": "+x",
            "feature_flag.key": "f",
            "feature_flag.result.variant": "on",
        },
        "deployed cart",
    )
    assert change == ConfigChange(
        id="d1",
        time_ns=5,
        type=ChangeType.DEPLOYMENT,
        service="cart",
        environment="prod",
        kind="deploy",
        actor="ann",
        version="v2",
        revision="abc",
        deployment_id="d1",
        flag_key="f",
        flag_variant="on",
        files=("a.py", "b.py"),
        files_changed=2,
        lines_added=4,
        lines_removed=1,
        params=(Param("pool.size", "10", "50"),),
        summary="deployed cart",
        diff="+x",
    )


def test_a_deployment_without_a_version_has_the_one_of_its_resource():
    assert change_of(ChangeType.DEPLOYMENT, 5, CART, {}, "").version == "v9"
    assert change_of(ChangeType.CONFIG, 5, CART, {}, "").version == ""


def test_the_same_content_is_the_same_change_and_other_content_is_not():
    one = change_of(ChangeType.CONFIG, 5, CART, {"rca.change.summary": "a"}, "")
    assert one.id == change_of(ChangeType.CONFIG, 5, CART, {"rca.change.summary": "a"}, "").id
    assert one.id != change_of(ChangeType.CONFIG, 5, CART, {"rca.change.summary": "b"}, "").id
    assert one.id != change_of(ChangeType.CONFIG, 6, CART, {"rca.change.summary": "a"}, "").id


SECRETS = {
    "ghp_abcdefghijklmnop0123": "token ghp_abcdefghijklmnop0123 rotated",
    "hunter2": "+  db_password: hunter2",
    "s3cr3t": "API_KEY=s3cr3t",
    "AKIAABCDEFGHIJKLMNOP": "key AKIAABCDEFGHIJKLMNOP",
    "user:pw": "url=postgres://user:pw@db/x",
    "MIIE": "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize(("secret", "text"), SECRETS.items())
def test_a_secret_gets_in_neither_by_text_nor_by_parameter(secret, text):
    by_log = change_of(ChangeType.CONFIG, 5, CART, {"rca.change.diff": text, "rca.change.params": {"db.password": secret}}, text)
    by_json = change_from_json({"type": "config.change", "summary": text, "params": [{"name": "api_key", "new": secret}]}, 5)
    for change in (by_log, by_json):
        assert secret not in repr(change)


def test_names_that_only_sound_secret_keep_their_values():
    change = change_from_json(
        {"type": "config.change", "params": [{"name": "max_tokens_per_minute", "old": "5"}, {"name": "author", "new": "ann"}]}, 5
    )
    assert change.params == (Param("max_tokens_per_minute", "5", ""), Param("author", "", "ann"))


def test_what_leaves_has_no_values():
    change = change_from_json(
        {
            "type": "config.change",
            "params": [{"name": "pool", "old": "10", "new": "507"}],
            "summary": "pool 10 -> 507 (was 10)",
            "diff": "-10\n+507",
        },
        5,
    )
    assert "507" in repr(change)
    assert "507" not in repr(redact(change))
    assert redact(change).params == (Param("pool"),)


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        ([], "change: must be an object"),
        ({}, "change: type is missing"),
        ({"type": "deploy"}, "type: must be one of deployment, config.change"),
        ({"type": []}, "type: must be one of"),
        ({"type": "deployment", "servce": "cart"}, "change: unknown field 'servce'; known: id, time, type, service"),
        ({"type": "deployment", "service": 5}, "service: must be a string, however: int"),
        ({"type": "deployment", "service": "x" * 257}, "service: must have at most 256 characters"),
        ({"type": "deployment", "time": "yesterday"}, "time: must be RFC 3339 with a zone"),
        ({"type": "deployment", "time": "2026-01-02T03:04:05"}, "time: must be RFC 3339 with a zone"),
        ({"type": "deployment", "time": "2026-13-02T03:04:05Z"}, "time: must be RFC 3339 with a zone"),
        ({"type": "deployment", "time": 0}, "time: must be"),
        ({"type": "deployment", "files": "a.py"}, "files: must be an array"),
        ({"type": "deployment", "files": ["a.py", 5]}, "files[1]: must be a string"),
        ({"type": "deployment", "lines_added": -1}, "lines_added: must be an integer"),
        ({"type": "deployment", "lines_added": True}, "lines_added: must be an integer"),
        ({"type": "deployment", "params": [{"old": "1"}]}, "params[0]: name is missing"),
        ({"type": "deployment", "params": [{"name": ""}]}, "params[0].name: must not be empty"),
        ({"type": "deployment", "params": [{"name": "a", "value": "1"}]}, "params[0]: unknown field 'value'; known: name, old, new"),
    ],
)
def test_a_wrong_change_is_refused_by_the_name_of_its_field(obj, said):
    with pytest.raises(ValueError) as refused:
        change_from_json(obj, 5)
    assert said in str(refused.value)


TEXTS = st.text("abcé /.-", max_size=20)
CHANGES = st.fixed_dictionaries(
    {"type": st.sampled_from([str(each) for each in ChangeType])},
    optional={
        "id": TEXTS,
        "time": st.one_of(st.integers(1, (1 << 63) - 1), st.sampled_from(["2026-01-02T03:04:05.000000007+02:00"])),
        "service": TEXTS,
        "files": st.lists(TEXTS, max_size=3),
        "files_changed": st.integers(0, 9),
        "params": st.lists(st.fixed_dictionaries({"name": st.text("ab", min_size=1)}, optional={"old": TEXTS, "new": TEXTS}), max_size=2),
        "summary": TEXTS,
        "deployment_id": TEXTS,
    },
)


@given(CHANGES)
def test_what_the_schema_allows_is_taken_and_comes_back_the_same(obj):
    jsonschema.validate(obj, SCHEMA)
    change = change_from_json(obj, 5)
    written = orjson.loads(orjson.dumps(change_to_json(change)))
    jsonschema.validate(written, SCHEMA)
    assert change_from_json(written, 99) == change


def test_every_recorded_change_has_its_id_its_type_and_its_words():
    for path in sorted(recordings().glob("rootcausebench/*.jsonl.zst")) + sorted(recordings().glob("petshop/low_traffic/*.jsonl.zst")):
        strings, resources = Strings(), Resources()
        lines = [line for line in lines_of(path) if b'"rca.change.id"' in line]
        changes = [change for line in lines for change in decode_json(line, strings, resources).changes]
        assert len({change.id for change in changes}) == sum(line.count(b'"rca.change.id"') for line in lines)
        assert all(change.summary and change.kind for change in changes)
