"""Parts of the attribution of changes: diffs, edits, mechanisms, inert changes, texts, onsets."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from engine.judge.attribution.diff import parse
from engine.judge.attribution.edits import edits
from engine.judge.attribution.files import is_shared, service_of_file
from engine.judge.attribution.inert import churn_term, inert_term
from engine.judge.attribution.live import UNCARRIED, live_of
from engine.judge.attribution.mechanism import mechanism_term
from engine.judge.attribution.onset import Departure, Sign, departure_of, flooded, root_weights, starved, walk
from engine.judge.attribution.series import series_kind
from engine.records import MINUTE_NS, ChangeType, ConfigChange, PeerKind, TopologyEdge
from engine.settings import EngineSettings
from engine.strings import Resources, Strings
from engine.take.inbox import Inbox
from engine.take.texts import TextKind, Texts
from exporter.changes.log_record import LONGEST_DIFF
from exporter.decode.json import decode_json
from tests import authored


def commit(diff: str, *files: str) -> ConfigChange:
    """A commit with this diff."""
    return ConfigChange("c", 0, ChangeType.CODE, files=files, diff=diff)


def test_lines_that_moved_and_comments_did_not_change() -> None:
    diff = parse("@@ a.go\n-\tb()\n-// old\n+// new\n+\tc()\n+  b()\n")
    assert diff.added == ("c()",)
    assert diff.removed == ()
    assert parse("@@ a.go\n-// old\n+// new\n").only_comments


@pytest.mark.parametrize("seed", ["_", "if ", "a.b", "((", "re (.*", "<", "where ", "1", "x=1,", "if a.b("])
def test_a_diff_that_is_made_to_take_long_does_not(seed: str) -> None:
    whole = f"@@ a.py\n-{seed * 20_000}\n+{seed * 20_000}x\n"
    wide = "@@ a.py\n" + "".join(f"{sign}{(seed * 240)[:230]}{number}\n" for number in range(135) for sign in "-+")
    began = time.process_time()
    for diff in (whole[:LONGEST_DIFF], wide[:LONGEST_DIFF]):
        mechanism_term(commit(diff, "a.py"), parse(diff), {"errors": 1.0})
    assert time.process_time() - began < 5  # a second or two; minutes where a pattern takes the square of a line


@pytest.mark.parametrize(
    ("diff", "expected"),
    [
        ("-const ttl = 10 * time.Minute\n+const ttl = 10 * time.Second", ("number", 600.0, 10.0)),
        ("-  memory: 1Gi\n+  memory: 256Mi", ("number", 2.0**30, 2.0**28)),
        ("-pool.max=50\n+pool.max=5", ("number", 50.0, 5.0)),
        ("-A{Tries: 8, Base: x}\n+A{Tries: 2}", ("number", 8.0, 2.0)),
    ],
)
def test_numbers_are_compared_in_base_units(diff: str, expected: tuple[str, float, float]) -> None:
    (edit,) = edits(parse(f"@@ settings.yaml\n{diff}\n"))
    assert (edit.kind, edit.before, edit.after) == expected


@pytest.mark.parametrize(
    ("diff", "symptom"),
    [
        ("-  defer conn.Close()\n", "exhausted"),
        ("-  if (user == null) return guest();\n", "null"),
        ("+  for (const id of ids) {\n+    await client.fetch(id);\n+  }\n", "fanout"),
        ("-  pool_size: 40\n+  pool_size: 4\n", "exhausted"),
        ("-  timeout_ms: 3000\n+  timeout_ms: 300\n", "timeout"),
        ("-  int32 amount = 3;\n+  int32 cents = 3;\n", "parse"),
        ("+DROP INDEX orders_by_user;\n", "query"),
        ("-  Thing.includes(:parts)\n+  Thing.all\n", "query"),
        ("-  workers: 10\n+  workers: 50\n", "exhausted"),
        ("+  statement_timeout: 10s\n", "timeout"),
        ("-  withContext(Dispatchers.IO) {\n+  withContext(dispatcher) {\n", "latency"),
        ("+  redis.set(key, dumps(found))\n", "memory"),
        ("-  digest(q.a, q.b)\n+  digest(q)\n", "cache"),
    ],
)
def test_what_a_diff_does_fits_its_own_symptom_better_than_another(diff: str, symptom: str) -> None:
    text = f"@@ a.yaml\n{diff}"
    fits, why = mechanism_term(commit(text), parse(text), {symptom: 1.0})
    other, _ = mechanism_term(commit(text), parse(text), {"certificate": 1.0})
    assert fits > 1.0 > other
    assert why


def test_a_number_that_moved_the_helpful_way_speaks_against() -> None:
    text = "@@ a.yaml\n-  pool_size: 4\n+  pool_size: 40\n"
    nats, _ = mechanism_term(commit(text), parse(text), {"exhausted": 0.9, "latency": 1.0})
    assert nats < 0.6


@pytest.mark.parametrize(
    ("diff", "files", "least"),
    [
        ("", ("docs/a.md",), -5),
        ("@@ a_test.go\n+x := 1\n", ("a_test.go",), -5),
        ("@@ a.py\n-    log.info('a')\n+    log.info('a', extra=b)\n", ("a.py",), -4),
        ("@@ a.css\n-.a { b: 1 }\n+.a { b: 2 }\n", ("a.css",), -2.5),
        ("@@ go.mod\n-  x v1.2.3\n+  x v1.2.4\n", ("go.mod",), -0.8),
    ],
)
def test_what_cannot_do_harm_is_known(diff: str, files: tuple[str, ...], least: float) -> None:
    assert inert_term(commit(diff, *files), parse(diff), others_have_diffs=False)[0] == least


def test_the_name_of_a_class_is_no_wording() -> None:
    text = "@@ consumer.yaml\n-  strategy: org.example.RangeAssignor\n+  strategy: org.example.StickyAssignor\n"
    assert inert_term(commit(text, "consumer.yaml"), parse(text), others_have_diffs=False) == (0.0, "")


def test_more_lines_that_do_something_weigh_more() -> None:
    one, ten = (churn_term(parse("@@ a.go\n" + "".join(f"+\tcall(x{at})\n" for at in range(count)))) for count in (1, 10))
    assert one < ten
    assert churn_term(parse('@@ a.go\n+\tlog.Info("a")\n')) == 0
    assert churn_term(parse("")) == 0


def test_manifests_go_live_without_a_release_and_shared_code_with_many() -> None:
    deploy = ConfigChange("d", 9 * MINUTE_NS, ChangeType.DEPLOYMENT, "cart", revision="ffffffff")
    at = {"deploys": [deploy], "services": ["cart"], "onset_ns": 10 * MINUTE_NS}
    manifest = live_of(commit("@@ k8s/cart/service.yaml\n-a: 1\n+a: 2\n", "k8s/cart/service.yaml"), **at)
    assert (manifest.time_ns, manifest.services, manifest.carried > -0.5) == (0, ("cart",), True)
    shared = commit("@@ pkg/a.go\n+b()\n", "pkg/a.go")
    alone, among = (live_of(shared, **at, company=company) for company in (1, 8))
    assert alone.time_ns == among.time_ns == deploy.time_ns
    assert alone.carried > among.carried > UNCARRIED
    foreign = live_of(commit("@@ shop/a.go\n+b()\n", "shop/a.go"), [deploy], ["cart", "shop"], 10 * MINUTE_NS)
    nowhere = live_of(commit("@@ cart/a.go\n+b()\n", "cart/a.go"), [], ["cart", "shop"], 10 * MINUTE_NS)
    late = live_of(replace(commit("@@ cart/a.go\n+b()\n", "cart/a.go"), time_ns=deploy.time_ns + 1), **at)
    assert nowhere.carried > foreign.carried > late.carried == UNCARRIED


def test_who_fails_is_not_starved_however_little_it_does() -> None:
    less = [Departure("shop", "orders_placed", "requests", 0, -9.0, 80.0, 20.0, 0)]
    assert starved(less) == {"shop"}
    assert starved(less, [Sign(0, "shop", "errors", "order refused")]) == frozenset()


def test_files_belong_to_services_by_their_folders() -> None:
    services = ["shippingservice", "order-api", "cart"]
    assert service_of_file("services/shipping/rate.go", services) == "shippingservice"
    assert service_of_file("order/main.go", services) == "order-api"
    assert service_of_file("pkg/db/pool.go", services) == ""
    assert is_shared("pkg/db/pool.go")


def test_a_series_departs_where_it_leaves_its_level_for_good() -> None:
    time = np.arange(60, dtype=np.int64) * MINUTE_NS
    rng = np.random.default_rng(1)
    value = 100 + rng.normal(0, 2, 60)
    value[30] = 400  # a spike is no departure
    value[50:] += 300
    found = departure_of(time, value, 55 * MINUTE_NS)
    assert found is not None
    first, _, z, old, new = found
    assert (first, z > 5, round(old, -1), round(new, -2)) == (50, True, 100, 400)
    assert departure_of(time[:50], value[:50], 45 * MINUTE_NS) is None


def test_the_walk_back_stops_at_a_gap_of_fifteen_minutes() -> None:
    signs = [Sign(minute * MINUTE_NS, "a", "errors", "") for minute in (10, 40, 50, 58)]
    assert walk(signs, 60 * MINUTE_NS, 70 * MINUTE_NS) == 40 * MINUTE_NS
    assert walk([], 60 * MINUTE_NS, 70 * MINUTE_NS) == 60 * MINUTE_NS


def test_a_caller_with_a_sick_callee_is_no_likely_root_unless_it_overran_it() -> None:
    edge = TopologyEdge("front", "back", PeerKind.SERVICE, 1, 0, 1.0)
    signs = [Sign(0, "front", "latency", ""), Sign(0, "back", "latency", "")]
    weights = root_weights(signs, [edge], 0)
    assert weights["back"] > weights["front"]
    weights = root_weights(signs, [edge], 0, frozenset({"back"}))
    assert weights["front"] > weights["back"]
    assert flooded([], [edge]) == frozenset()


def test_a_name_tells_what_a_series_measures() -> None:
    kinds = ["storage_usage", "queue_oldest_message_age_seconds", "http_404_total", "grpc.server.requests"]
    assert [series_kind(name) for name in kinds] == ["other", "saturation", "errors", "requests"]


def test_texts_are_the_same_after_a_restart_with_new_dictionaries() -> None:
    strings, resources, settings = Strings(), Resources(), EngineSettings(window_ns=MINUTE_NS)
    inbox, texts = Inbox(resources, settings), Texts(strings, resources, settings)
    for payload in authored.payloads("16-sms-provider"):
        inbox.put(decode_json(payload, strings, resources))
    end = authored.minute_ns(72)
    for window in inbox.windows(end):
        texts.take(window)
    again = Texts(Strings(), resources, settings)
    state = texts.state()
    rows = {name: column.tolist() for name, column in state.pop("rows").items()}
    again.restore({**json.loads(json.dumps(state)), "rows": {name: np.array(column) for name, column in rows.items()}})
    start = authored.minute_ns(40)
    assert again.counts(start, end) == texts.counts(start, end)
    peers = [each for each in texts.counts(start, end) if each.kind is TextKind.PEER and each.text]
    assert {each.text for each in peers} == {"api.textwave.example"}
    assert not any("textwave request from a template" in each.text for each in texts.counts(0, end))


@pytest.mark.parametrize(
    ("old", "new", "retyped"), [("int64", "int32", True), ("i64", "u32", True), ("i", "u", False), ("row", "item", False)]
)
def test_a_type_in_place_of_another_is_told_from_a_name(old: str, new: str, *, retyped: bool) -> None:
    diff = f"@@ a.rs\n-    let total: {old} = next();\n+    let total: {new} = next();\n"
    assert (mechanism_term(commit(diff, "a.rs"), parse(diff), {"type": 1.0})[0] > 1) == retyped
