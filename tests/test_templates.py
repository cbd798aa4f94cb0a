"""Templates: one per place in the source, else one per sentence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.strings import Strings
from engine.take.templates import Templates


def codes(templates: Templates, strings: Strings, *bodies: str) -> list[int]:
    return templates.of(np.array([strings.intern("template", body) for body in bodies], np.int32)).tolist()


@given(st.lists(st.sampled_from(["paid", "failed", "<*>", "order", "by", "ann", "7"]), min_size=1, max_size=6))
def test_two_places_are_never_one_template_and_one_place_never_two(words: list[str]) -> None:
    strings = Strings()
    templates, text = Templates(strings), " ".join(words)
    a, b, again = codes(templates, strings, f"INFO Shop#12 {text}", f"INFO Shop#13 {text}", f"WARN Shop#12 other {text}")
    assert a != b
    assert a == again


def test_arguments_become_wildcards_and_other_lengths_stay_apart() -> None:
    strings = Strings()
    templates = Templates(strings)
    found = codes(templates, strings, "could not reach cart after <*> s", "could not reach stock after <*> s", "could not reach cart")
    assert found == [1, 1, 2]
    assert templates.text(1) == "could not reach <*> after <*> s"


def test_no_more_templates_than_the_cap() -> None:
    strings = Strings()
    templates = Templates(strings, cap=3)
    assert codes(templates, strings, "alpha", "beta beta", "gamma c c", "delta d d d") == [1, 2, 0, 0]
    assert templates.overflowed == 2


def test_codes_survive_a_restart() -> None:
    strings = Strings()
    before = Templates(strings)
    expected = codes(before, strings, "Shop#12 paid", "user <*> paid in euro", "user <*> paid in yen", "disk full")
    other = Strings()
    after = Templates(other)
    after.restore(before.state())
    assert codes(after, other, "Shop#12 paid", "user <*> paid in euro", "user <*> paid in yen", "disk full") == expected
