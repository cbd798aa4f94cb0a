"""Evidence for the tests of the judge: short to write, in plain values."""

from __future__ import annotations

from engine.records import SECOND_NS, Attribution, Evidence, Family, PeerKind, TopologyEdge

NO_CHANGE = Attribution("none", (), 1.0)
NAN = float("nan")


def seen(service, family=Family.FLOW, z=8.0, subject="", end_s=1000, observed=NAN, expected=NAN, **rest):
    """Evidence of the 120 s that end at `end_s`."""
    subject = subject or f"{family} of {service}"
    end_ns = int(end_s * SECOND_NS)
    return Evidence(
        family, service, subject, end_ns - 120 * SECOND_NS, end_ns, z, observed, expected, 50, "", f"{subject}: Z {z:.1f}.", **rest
    )


def calls(*pairs):
    """Topology edges from "caller>callee"."""
    return tuple(TopologyEdge(*pair.split(">"), PeerKind.SERVICE, 100.0, 0.0, 1.0) for pair in pairs)
