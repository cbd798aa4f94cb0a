"""What speaks for no change at all: load, an outside host, a status page, the machines below."""

from __future__ import annotations

import math
import re
from typing import Final

from engine.judge.context import ChangeContext
from engine.take.texts import TextKind

BASE: Final = -0.4  # near what is fitted, like SPEAKS: python -m tests.bench.attribution_fit
SPEAKS: Final = 1.4  # factor of what speaks for *none*
BASE_BARE: Final = -1.5  # where no change carries a diff: scores are smaller there
BASE_MEASURED: Final = -3.2  # nor a diff, but the excess is measured
LOAD_FROM: Final = 1.5
OUTSIDE_FROM: Final = 0.5
APART: Final = 0.7
APART_MOST: Final = 2.1
STATUS_WORDS: Final = re.compile(
    r"\b(we are|we're|we have)\b.*\b(investigat|observ|monitor|identif|experienc)|investigating (increased"
    r"|elevated)|(incident|outage|degrad\w+|error rates?|elevated)\b.*\b(investigat|monitor|mitigat|recover"
    r"|resolved)",
    re.I,
)
#: An answer to what the sender did wrong.
OURS: Final = re.compile(
    r"unknown authority|local issuer|self[- ]signed|certificate verify failed|path building failed|untrusted|trust anchor"
    r"|\b4(00|01|03|05|06|11|13|15|22)\b|bad request|unauthori[sz]ed|forbidden|unprocessable|unsupported media|method not allowed"
    r"|invalid (api key|signature|client|token|request|parameter)|too large",
    re.I,
)
OURS_SHARE: Final = 0.35
PRIVATE: Final = re.compile(
    r"\.(internal|local|localdomain|lan|corp|intra|private|svc|cluster|home|test|default)(\.|$)"
    r"|^(10|127|169\.254|192\.168|172\.(1[6-9]|2\d|3[01]))\.|^\[?f[cde]",
    re.I,
)
MACHINES: Final = (
    (
        re.compile(
            r"no space left|\benospc|disk ?(pressure|usage|space|quota)|disk (is )?full|flood-?stage|high watermark|read-only file system"
            r"|\bi/o error|\beio\b|inodes?|(fsync|sync|checkpoint\w*) .*(took|slow|too long)|volume (is )?(impaired|degraded)|(ext4|xfs"
            r"|zfs|btrfs).{0,8}(error|corrupt)|nvme\w*: .*(timeout|abort|reset)"
            r"|failedattachvolume|multi-attach|log dirs? (have|has) failed|disk watermark|flood stage",
            re.I,
        ),
        "disks",
    ),
    (
        re.compile(
            r"node (is )?not ?ready|nodenotready|node has condition|evict(ed|ion)|preempt|spot (instance|interruption)"
            r"|instance (terminat|retir)|host (is )?(down|unreachable)|kernel panic|unschedulable|failedscheduling|hardware error"
            r"|machine check|\becc\b|soft lockup|hung task|\bxid \(pci|fallen off the bus|uncorrect(able|ed)|double[- ]bit|nvlink error"
            r"|device (was )?(lost|disconnected|not responding)|thermal (throttl|shutdown|trip)|power supply|link training|pcie bus error"
            r"|smart (error|failure)|medium error|bad (block|sector)|controller (reset|failure|timeout)|watchdog: (bug|marking)|mce: "
            r"|\bedac\b|temperature above|steal (time )?\d|power loss|power failure|rack .*(down|lost)",
            re.I,
        ),
        "machines",
    ),
    (
        re.compile(
            r"certificate (has )?expired|certificate is not yet|x509.*expired|expired certificate|notafter|cert\w* validity|has expired on"
            r"|(license|licence|subscription|domain|contract|trial|api key|password|credential\w*)( key)? (has |is )?(been )?(expired"
            r"|suspended"
            r"|lapsed|disabled|cancell?ed)|account (is )?past due|billing (is )?(disabled|not enabled)",
            re.I,
        ),
        "something that expired",
    ),
    (
        re.compile(
            r"maximum value of sequence|sequence .*(exhausted|limit)|auto_?increment.*(fail|exhaust|maximum|out of range)"
            r"|failed to read auto-?increment|wraparound|out of range for (type|column).*(int|serial)|duplicate entry \W?(2147483647"
            r"|9223372036854775807"
            r"|4294967295)\b"
            r"|\b(2200h|57p0[1-5]|xx00[12])\b|sqlstate\W{1,3}(54000|53100|58030)\b|clock (skew|drift|jump|stepp)|ntpd?\b.*(unsync|lost"
            r"|offset|stepped)"
            r"|leap second",
            re.I,
        ),
        "something that came to its end",
    ),
    (
        re.compile(
            r"(insufficient|not enough|no) (instance )?capacity|insufficientinstancecapacity|capacity-?not-?available|stockout"
            r"|(monthly|daily|project|organi[sz]ation)[- ]?(quota|limit|cap)\b"
            r"|exceeded your current quota|model .*(overloaded|at capacity)|overloaded_error|requestlimitexceeded"
            r"|nodes are available: .*insufficient|(status|http|error|code)\W{1,3}529\b|out of (credits|quota)",
            re.I,
        ),
        "a provider's quota",
    ),
    (
        re.compile(
            r"failover|recovery mode|read[- ]?only (replica|transaction)|primary.*(lost|down|unavailable)|leader(ship)? (lost"
            r"|election)|no leader|quorum|not (the )?(leader|master|primary)\b|not ?writable ?primary|step(ped|ping) down|promot(ing"
            r"|ed) .*(replica|standby|leader)|conflict with recovery",
            re.I,
        ),
        "a failover",
    ),
    (
        re.compile(
            r"base ?backup|\bbackup\b.*(progress|running|start)|\bvacuum|compaction|maintenance (window|mode|in progress)"
            r"|snapshot.*(progress|start)|re-?index(ing)?\b.*(progress|running)|resilver|scrub(bing)?\b"
            r"|\bpsql\b|dbeaver|datagrip|metabase|tableau|\bad[- ]?hoc\b|pg_dump|mysqldump|pg_restore|operator (ran|started|issued)",
            re.I,
        ),
        "work that nobody asked for",
    ),
    (
        re.compile(
            r"network (is )?unreachable|no route to host|packet loss|temporary failure in name resolution|dns (lookup"
            r"|resolution)|partition(ed)? from|link (is )?down|server misbehaving|servfail|eai_again|\be(host|net)unreach",
            re.I,
        ),
        "the network",
    ),
)
#: Series of what lies below all code.
BELOW: Final = re.compile(
    r"(volume|disk|device|block|storage|ebs)\w*(latenc|await|wait|queue)|io_?wait|(?<![a-z])steal|retransmi|packets?_?(loss|lost|drop)"
    r"|throttled_(io|credit)|temperature|(?<![a-z])ecc(?![a-z])|(?<![a-z])raid|(?<![a-z])nic_|link_(errors|down)",
    re.I,
)
BELOW_NATS: Final = 1.2


def is_public(host: str) -> bool:
    """Whether a name can be someone else's: not of a private domain, no bare word, no private address.

    >>> is_public("api.example.com"), is_public("db.internal"), is_public("redis"), is_public("10.0.0.7")
    (True, False, False, False)
    """
    return "." in host and not PRIVATE.search(host)


def _is_ours(context: ChangeContext) -> bool:
    """Whether the root's loudest new error about an outside host says that what it sent, or whom it trusts, is wrong."""
    said = (each for each in context.texts if each.service == context.root and not each.usual and each.kind is not TextKind.STATEMENT)
    return any(OURS.search(each.text) for each in said)


def base(context: ChangeContext, *, bare: bool) -> float:
    """Nats of *none* with nothing to say for it, and of a change that was never told: nothing tells the two apart."""
    if not bare:
        return BASE
    return BASE_MEASURED if context.measured else BASE_BARE


def none_term(context: ChangeContext, *, bare: bool) -> tuple[float, tuple[str, ...]]:
    """Nats for "no change did it", and the reasons.

    base + 1.4 times
      load: 2 + .5 log2 r for r >= 1.5 times the requests at an entry; measured, without diffs: min(2.4, 2.4 log2 r) from 1.1 on
    + outside: 1 + 3 share where at least half of the root's errors name a host outside; .5 + share if its name is private
    + services that fell ill at once and have nothing to do with each other: .7 for each beyond the first, at most 2.1
    + a status page speaks of trouble 1.5; disks, machines, certificates, failover, network 2
    """
    nats, reasons = 0.0, []
    ratio = context.load_ratio
    if context.measured and bare:
        if ratio > 1.1:
            nats += min(2.4, 2.4 * math.log2(ratio))
            reasons.append(f"{context.load_service or context.root} gets {ratio:.2g} times its usual requests")
    elif ratio >= LOAD_FROM:
        nats += 2 + 0.5 * math.log2(ratio)
        reasons.append(f"{context.load_service} gets {ratio:.2g} times its usual requests")
    if context.outside_share >= OUTSIDE_FROM:
        # a host of our own may be out of reach because of a change of ours
        outside = 1 + 3 * context.outside_share if is_public(context.outside_host) else 0.5 + context.outside_share
        nats += outside * (OURS_SHARE if _is_ours(context) else 1.0)
        reasons.append(f"{context.outside_share:.0%} of the errors of {context.root} name {context.outside_host}, which is outside")
    if len(context.apart) > 1:
        nats += min(APART_MOST, APART * (len(context.apart) - 1))
        reasons.append(f"{', '.join(context.apart[:4])} fell ill at once, and none calls the other")
    status = next((said for said in context.texts if not said.usual and STATUS_WORDS.search(said.text)), None)
    if status is not None:
        nats += 1.5
        reasons.append(f"{status.service} reports: {status.text[:100]}")
    for words, what in MACHINES:
        said = next(
            (each for each in context.texts if not each.usual and each.kind is not TextKind.STATEMENT and words.search(each.text)), None
        )
        if said is not None and said.weight > 0.2:
            nats += 2.0
            reasons.append(f"{said.service} speaks of {what}: {said.text[:100]}")
            break
    below = next(
        (step for step in context.steps if step.new > step.old and BELOW.search(step.metric) and context.view(step.service).root), None
    )
    if below is not None:
        nats += BELOW_NATS
        reasons.append(f"{below.metric} of {below.service} goes from {below.old:.3g} to {below.new:.3g}")
    return base(context, bare=bare) + SPEAKS * nats, tuple(reasons)
