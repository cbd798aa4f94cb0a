"""Log bodies to templates: what varies is folded away, what names a place in the source stays."""

from __future__ import annotations

import re

LONGEST_BYTES = 256
#: Of an error: what it could not reach is often named at the end.
LONGEST_ERROR_BYTES = 1024
FOLDED = "<*>"

#: Suffixes of source files, so that `cart.py:12` is a place and `cart.example:8080` is not.
SOURCE_SUFFIXES = (
    "py|java|kt|kts|scala|groovy|clj|go|rs|rb|php|js|jsx|mjs|cjs|ts|tsx|vue|cs|fs|vb|c|cc|cpp|cxx|h|hh|hpp|m|mm|swift"
    "|ex|exs|erl|lua|pl|pm|r|dart|sh|sql"
)
#: Where a place ends: `#12` or `.py:12`. Literal first characters let the scan run at memchr speed; the name is walked to the left.
LINE = re.compile(r"#[0-9]+(?![0-9A-Za-z_])")
FILE_LINE = re.compile(rf"\.(?:{SOURCE_SUFFIXES}):[0-9]+(?![0-9A-Za-z_])")
HEX_DIGIT = "[0-9a-fA-F]"
#: UUIDs, and hex of 8 and more characters with a digit in it (a word of eight letters a-f is a word).
IDENTIFIER = re.compile(
    rf"{HEX_DIGIT}(?<![0-9A-Za-z].)(?:(?<=[0-9])|(?=[a-fA-F]*[0-9])){HEX_DIGIT}{{7,}}"
    rf"(?:-{HEX_DIGIT}{{4}}-{HEX_DIGIT}{{4}}-{HEX_DIGIT}{{4}}-{HEX_DIGIT}{{12}})?(?![0-9A-Za-z])"
)
NUMBER = re.compile(rf"[0-9](?:(?<=0)[xX]{HEX_DIGIT}+|[0-9]*(?:\.[0-9]+)*)")
HALF_WORD = re.compile(r"[\w-]+$")
LITERAL = re.compile(r"'(?:[^']|'')*'|\"\"")


def fold(text: str, longest_bytes: int = LONGEST_BYTES) -> str:
    """Fold a log body to its template: ids, hex and numbers become `<*>`, places in the source stay.

    Merging two places of one class destroys the evidence of which branch was taken, so `Name#12` and `file.py:12` are kept to the digit.
    Bodies are cut to `longest_bytes` first, at a word: half an id would not be recognised as one.

    >>> fold("16:48:16.545 INFO a.b.CartController#12 TraceID: 0f3fbcebbbc0884eabd9178e18089400 took 12.5 ms for G1234")
    '<*>:<*>:<*> INFO a.b.CartController#12 TraceID: <*> took <*> ms for G<*>'
    >>> fold("worker.py:12: GET http://10.0.0.7:8080/cart/0f8fad5b-d9cb-469f-a165-70867728950e")
    'worker.py:12: GET http://<*>:<*>/cart/<*>'
    """
    if len(text) > longest_bytes or not text.isascii():
        text = cut(text, longest_bytes)
    places = places_in(text)
    if not places:
        return NUMBER.sub(FOLDED, IDENTIFIER.sub(FOLDED, text))
    folded, at = [], 0
    for start, end in places:
        if start < at:
            continue  # two places that overlap are one
        folded += [NUMBER.sub(FOLDED, IDENTIFIER.sub(FOLDED, text[at:start])), text[start:end]]
        at = end
    return "".join((*folded, NUMBER.sub(FOLDED, IDENTIFIER.sub(FOLDED, text[at:]))))


def places_in(text: str) -> list[tuple[int, int]]:
    """Start and end of each code location, in order: a name with its line, not an address with its port.

    >>> [text[a:b] for text in ["at t.Cart#12 and a-b/cart.py:7, not cart.example:80 or issue #9"] for a, b in places_in(text)]
    ['t.Cart#12', 'a-b/cart.py:7']
    """
    places = [(name_start(text, match.start(), "_$."), match.end()) for match in LINE.finditer(text)] if "#" in text else []
    if ":" in text:
        places += [(name_start(text, match.start(), "_$./-"), match.end()) for match in FILE_LINE.finditer(text)]
        places.sort()
    return [(start, end) for start, end in places if text[start].isalpha() or text[start] in "_$"]


def name_start(text: str, end: int, extra: str) -> int:
    """Where the name that ends at `end` starts: letters, digits and the extra characters, no digits first."""
    at = end
    while at and (text[at - 1].isalnum() or text[at - 1] in extra):
        at -= 1
    while at < end and not (text[at].isalpha() or text[at] in "_$"):
        at += 1
    return at


def cut(text: str, longest_bytes: int = LONGEST_BYTES) -> str:
    """The first bytes of a text, without the word that the cut goes through.

    >>> len(cut("ab " * 200)), cut("short")
    (255, 'short')
    """
    raw = text[:longest_bytes].encode("utf-8", "replace")
    if len(raw) <= longest_bytes and len(text) <= longest_bytes:
        return text
    head = raw[:longest_bytes].decode("utf-8", "ignore")
    whole = HALF_WORD.sub("", head)
    return whole or head


def fold_statement(text: str) -> str:
    """Fold a query: its quoted literals, then as `fold`.

    >>> fold_statement("SELECT * FROM users WHERE name = 'ann' AND id = 12")
    'SELECT * FROM users WHERE name = <*> AND id = <*>'
    """
    return fold(LITERAL.sub(FOLDED, text) if "'" in text else text)
