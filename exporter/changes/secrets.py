"""What of a change may be kept, what may leave, and under which id: secrets never get in, values stay inside."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace

import orjson

from engine.records import ConfigChange, Param

REFUSED = "<secret>"
REDACTED = "<redacted>"

#: Names of parameters whose values are secrets, by words: `max_tokens` and `author` are none.
SECRET_NAME = re.compile(
    r"(?i)(?:^|[^a-z])(?:passwords?|passwd|passphrase|pwd|secrets?|token|credentials?|api[_.-]?key|access[_.-]?key|private[_.-]?key"
    r"|secret[_.-]?key|client[_.-]?secret|auth[_.-]?token|connection[_.-]?string)(?:$|[^a-z])"
)
#: Values that are secrets whatever their name: keys in PEM, well-known token prefixes, JSON web tokens, URLs with a password.
SECRET_VALUE = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,}|\bgithub_pat_\w{16,}|\bglpat-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|(?<=://)[^\s/:@]+:[^\s/@]+(?=@)|(?i:(?<=bearer ))[\w.~+/-]{8,}"
)
#: `name = value` and `name: value` in a text or diff.
ASSIGNMENT = re.compile(r"(?P<name>[\w.-]{1,80})(?P<sign>[\"']?\s{0,4}(?:=|:)\s{0,4})(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;\"']+)")
REDACTED_VALUE_MIN = 1


def scrubbed(params: tuple[Param, ...]) -> tuple[Param, ...]:
    """Parameters without the values that are secrets.

    >>> scrubbed((Param("db.password", "a", "b"), Param("pool.size", "10", "50")))
    (Param(name='db.password', old='<secret>', new='<secret>'), Param(name='pool.size', old='10', new='50'))
    """
    return tuple(
        Param(each.name, each.old and REFUSED, each.new and REFUSED)
        if SECRET_NAME.search(each.name)
        else Param(each.name, SECRET_VALUE.sub(REFUSED, each.old), SECRET_VALUE.sub(REFUSED, each.new))
        for each in params
    )


def scrubbed_text(text: str) -> str:
    """A summary or diff without secrets.

    >>> scrubbed_text("+ db_password = 'hunter2'")
    '+ db_password = <secret>'
    """
    text = SECRET_VALUE.sub(REFUSED, text)
    if not SECRET_NAME.search(text):
        return text
    return ASSIGNMENT.sub(
        lambda match: match["name"] + match["sign"] + REFUSED if SECRET_NAME.search(match["name"]) else match.group(), text
    )


def content_id(change: ConfigChange, given: str) -> ConfigChange:
    """The change under the given id, else under a hash of what it says: the same content is the same change.

    >>> from engine.records import ChangeType
    >>> one, other = (content_id(ConfigChange("", 5, ChangeType.CONFIG, service=name), "") for name in ("cart", "pay"))
    >>> one.id == content_id(one, "").id, one.id == other.id
    (True, False)
    """
    if given:
        return replace(change, id=given)
    content = orjson.dumps(replace(change, id=""), option=orjson.OPT_SORT_KEYS, default=list)
    return replace(change, id="change-" + hashlib.sha256(content).hexdigest()[:16])


def redact(change: ConfigChange) -> ConfigChange:
    """The change as it may leave whence: names of parameters, not their values, and no diff.

    >>> from engine.records import ChangeType
    >>> kept = ConfigChange("c", 1, ChangeType.CONFIG, params=(Param("pool.size", "10", "50"),), summary="pool.size 10 -> 50")
    >>> redact(kept).params, redact(kept).summary
    ((Param(name='pool.size', old='', new=''),), 'pool.size <redacted> -> <redacted>')
    """
    summary = change.summary
    values = {value for each in change.params for value in (each.old, each.new) if value}
    for value in sorted(values, key=lambda each: (-len(each), each)):
        summary = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", REDACTED, summary)
    return replace(change, params=tuple(Param(each.name) for each in change.params), summary=summary, diff="")
