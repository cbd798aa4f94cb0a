"""Marks: what a line of code does, by the words and signs that many languages share."""

from __future__ import annotations

import re
from typing import Final

GUARD: Final = re.compile(
    r"\bif\b.*\b(null|nil|none|undefined|nullptr|empty|is_?(some|none|null|nil|empty|present))\b|\bif\b.*\b(len"
    r"|size|length|count)\b.*[<>=]|\?\.|\bOptional\b|\.or_?else|unwrap_or"
    r"|\?\?|&\.|\b(try|catch|except|rescue|recover)\b|\bif err\b|\.get\([^()]+,[^()]+\)|get_?or_?default|\bif let\b"
    r"|\blet Some\b|\bguard let\b|\b(present|blank)\?|\bunless\b.*nil",
    re.I,
)
ASSERTION: Final = re.compile(r"\.unwrap\(\)|\.expect\(|!!(\.|\)|$)|\w!\.|\bas!\s|\.get\(\)(?=\.)|\[0\]\.|\.first\(\)\.|\bforce")
DEREFERENCE: Final = re.compile(r"\b\w+(?:(?:\.|->)\w+(?:\(\))?){2,}")
CLEANUP: Final = re.compile(
    r"\bdefer\b|(\.|_)(close|release|unlock|dispose|cancel|rollback|disconnect|destroy|stop|end|shutdown|detach"
    r"|unsubscribe|recycle|evict|expire)(all|async|_all)?\(|\bcancel\(\)"
    r"|\busing\b|\bwith\b.*\b\w*(session|open|connect|lock|pool|scope|cursor|client|transaction)\w*|\bfinally\b"
    r"|\bensure\b|\bfree\(|remove_?listener|clear_?(interval|timeout)|\btry\s*\(",
    re.I,
)
ADDRESS: Final = re.compile(r"^[/\w.:-]*(/|://|:\d{2,5}\b)|^[\w-]+(\.[\w-]+)+$")
ACQUIRE: Final = re.compile(
    r"\b(open|connect|acquire|borrow|checkout|get_?connection|new_?client|subscribe|add_?listener|set_?interval"
    r"|session_?factory|begin)\w*\(|\.on\([\"']",
    re.I,
)
LIMIT: Final = re.compile(
    r"(\b|_|(?<=[a-z])(?-i:(?=L)))limits?(?![a-z])|\bmax_?\w*|time_?outs?(?![a-z])|deadline|\bttl\b|bound|capacity|evict|expire|quota|backoff|throttle"
    r"|semaphore|\btake\(|\bcap\b|budget|\ballow\(|maxsize|\blru\b|circuit|\bsem(aphore)?\b",
    re.I,
)
#: A limit that is none.
UNBOUNDED: Final = re.compile(
    r"unbounded|unlimited|infinit|no_?limit|max_?size\s*[:=]\s*(none|null|0|-1)|max_?int|max_?value|\binf\b|,\s*-1\)|[=:]\s*-1\b", re.I
)
PAUSE: Final = re.compile(r"math\.random|\brand(om)?[.(]|back_?off|\bsleep|jitter|delay\b(?!\()|debounce", re.I)
LOOP: Final = re.compile(r"\bfor\b|\bforeach\b|\bwhile\b|\.(each|map|forEach|flatMap|collect|select)\b\s*[({]|\bloop\b|\.stream\(\)", re.I)
#: A line that opens a loop and holds nothing of its body.
LOOP_HEAD: Final = re.compile(r"^\s*(for|foreach|while|loop)\b.*([{:]|\bdo)\s*$", re.I)
ENDLESS: Final = re.compile(r"\bfor\s*\(\s*;\s*;\s*\)|\bfor\s*\{|\bwhile\s*\(?\s*(true|1)\b|\bloop\s*\{|\bloop do\b", re.I)
CALLS_OUT: Final = re.compile(
    r"quer(y|ies)\w*\(|\bselect\b.+\bfrom\b|\b\w*(fetch|http|requests?|client|repo|repository|dao|store|redis"
    r"|db|database|session|stub|gateway|api|rpc|catalog|cursor)\w*(?:(?:[.:]{1,2}|->)\w+)+\(|\w\(ctx\b|\bawait\s+\w+"
    r"|\.(execute|find_?(by|one|all|first)?\w*|where|load\w*|save|send\w*|post|put|exec\w*|invoke|publish|get_?\w+)\(",
    re.I,
)
PRELOAD: Final = re.compile(
    r"\bincludes\(|preload|eager|prefetch|select_related|joinedload|selectinload|\bjoin\b|\bbatch|bulk|(data|batch)_?loaders?\b|get_?(many|all)\(|by_?ids\b|(::|->|\.)with\("
    r"|load_?many|\bin\s*\(|multi_?get|mget|pipelin|denormali",
    re.I,
)
CACHE: Final = re.compile(r"cache|memoi[sz]|\blru\b|\bets\b|redis", re.I)
LOCK: Final = re.compile(
    r"(?-i:(?<![A-Za-z])([lL]|[uU]nl)|(?<=[a-z])L)ock(s|ed|ing)?(?![a-z])|\b\w*(mutex|semaphore|latch|barrier)\w*\b|synchronized"
    r"|for[_ ]?update|advisory|pessimistic"
    r"|isolation|\btransaction\w*|compare_?and|\bcas\b|serializable",
    re.I,
)
#: One for all requests, where each had its own.
SHARES: Final = re.compile(
    r"singleton|\bdef\b.*=\s*(\[\]|\{\}|(set|dict|list)\(\))|\bstatic\b(?!.*\b(class|void|int|long|boolean|bool|string|fn)\b)|\bglobal\b|lazy_?static|once_?cell|once_?lock"
    r"|application_?scoped",
    re.I,
)
#: A statement that keeps a table from others while it runs.
TABLE_LOCK: Final = re.compile(
    r"\bcreate\s+(unique\s+)?index\s+(?!concurrently)|\balter\s+table\b|\block\s+table\b|\bvacuum\s+full\b|\breindex\b|\badd_?(index|constraint|field)\b|\balter_?field\b|\btruncate\s+table\b",
    re.I,
)
#: A repetition of a repetition: a pattern that may try exponentially many ways.
BACKTRACKS: Final = re.compile(
    r"^(?=.*(regex|pattern|\bre\.|match|replace|=~|\br[\"'])).*(\((?:\\.|[^()\\])*[+*](?:\\.|[^()\\])*\)[+*]|(\.\*.*){2}[+*])", re.I
)
BLOCKING: Final = re.compile(
    r"\wSync\(|\.Result\b|\.Wait\(\)|\.join\(\)|\.get\(\)\s*;|GetAwaiter|\bsleep\(|Thread\.sleep|time\.Sleep"
    r"|block_on|runBlocking|\.block\(\)|spin|GenServer\.call|\b(deliver|perform)_now"
)
ASYNC: Final = re.compile(
    r"\bawait\b|\basync\b|\bgo\s+\w|go func|\bspawn\b|executor|submit\(|\.then\(|thread\(|\bTask\.|parallel|concurren|worker_?pool"
    r"|promise\.all|\bgather\(|when_?all|wait_?group|errgroup|par_iter",
    re.I,
)
GROWS: Final = re.compile(r"=\s*append\(|\.(append|push|add|put|set)\(|\[[^\]]+\]\s*=[^=]|\+=")
GLOBAL: Final = re.compile(r"\b(static|global|var|self\.|this\.|@@|\$)\b|^\s*[A-Z_]{3,}\b|registry|history|seen|buffer", re.I)
#: Where work runs.
EXECUTES: Final = re.compile(r"dispatcher|executor|thread_?pool|event_?loop|worker_?pool|subscribe_?on|publish_?on|virtual_?thread", re.I)
#: What things are found again by.
KEYED: Final = re.compile(
    r"digest|fingerprint|cache_?key|partition_?key|producer_?record|routing_?key|shard_?key|key_?by|partition_?by|hash_?code|\betag\b|\bkey\s*(:=|=)|\b\w*_key\s*(:=|=)",
    re.I,
)
#: Kept in a store that all share, and until when.
KEEPS: Final = re.compile(r"\b\w*(redis|cache|memcached?)\w*(\.|->)(set|put|add|store|write|hset|sadd|rpush|lpush)\w*\(", re.I)
UNTIL: Final = re.compile(r"\bttl|expir|\bex=|'ex'|\"ex\"|\bpx\b|max_?age|duration|timeout|minutes|seconds|hours|days", re.I)
COSTLY: Final = re.compile(
    r"\.clone\(\)|\.keys\([\"']|flush_?all|hgetall|smembers|regex|re\.compile|\bsort(ed)?\b|\bdeep_?(copy|clone)|json\.(parse|dumps|loads)|serialize|encrypt|hash"
    r"|pbkdf|bcrypt|scrypt|compress|reflect|levenshtein|contains\(",
    re.I,
)
STRICT: Final = re.compile(
    r"\braise\b|\bthrow\b|\bpanic!?\(|return\s+err|\bErr\(|required|strict|assert|disallow|reject|not[_ ]null"
    r"|nonnull|validate|forbid|deny|must\b|additionalProperties|check\s*\(",
    re.I,
)
CONDITION: Final = re.compile(
    r"\b(if|while|when|unless|elif|else|case|switch|filter|where)\b|&&|\|\||[=!<>]=|\s[<>]\s|\bnot\b|\band\b|\bor\b|\?.*:"
)
SCHEMA: Final = re.compile(
    r"\b(create|alter|drop|rename|add)\s+(table|column|type|view|constraint|schema)|rename_column|\bmigration\[|json:\""
    r"|serialized?_?name|@(json|column|field|entity|serial)\w*|\[(json|data)\w*"
    r"|\b(optional|repeated|required)\s+\w+\s+\w+\s*=\s*\d+|^(string|bytes|bool|double|float|[us]?int(32|64)|s?fixed(32|64)|[A-Z]\w+)"
    r"\s+\w+\s*=\s*\d+;|^[A-Z][A-Z0-9_]+\s*=\s*\d+;|additionalProperties|\"required\"",
    re.I,
)
DECODES: Final = re.compile(r"decod|unmarshal|deseriali|parse|from_?json|loads?\(", re.I)
SQL: Final = re.compile(r"\b(select|insert|update|delete)\b.+\b(from|into|set|where)\b|\bwhere\b.+=|\border by\b|\bjoin\b", re.I)
INDEX_GONE: Final = re.compile(r"drop\s+index|remove_?index|dropindex|delete_?index", re.I)
NETWORK: Final = re.compile(
    r"security_?group|firewall|cidr|network_?polic|\b(in|e)gress\b(?!\.)|\backl\b|allow_?list|deny_?list|iptables"
    r"|from_?port|to_?port|subnet|peering|\bdns(_?(policy|config|server|zone)\w*)?\b|name_?server|resolv(er|\.conf)|ndots|\bcname\b|hosted_?zone",
    re.I,
)
SCHEDULE: Final = re.compile(r"\bcron\w*|\bschedul\w*|run_?every|@every|fixed_?rate", re.I)
IMAGE: Final = re.compile(r"(^|/)(dockerfile|containerfile)[\w.-]*$|\.dockerfile$|(^|/)(apt|apk|system)[-_]?packages", re.I)
DEFINES: Final = re.compile(
    r"\b(?:function|def|func|fun|fn)\s+(?:\([^)]*\)\s*)?(\w+)|\b(?:public|private|protected|static|async)\b[^=;(]*?\b(\w+)\s*\("
)
PROBE: Final = re.compile(r"probe\b|health_?check\w*\s*[:={(]|[\"'](/\w+)*/(healthz?|readyz?|livez?|up|status)\b", re.I)
#: Around changed lines: they belong to a probe.
PROBED: Final = re.compile(
    r"probe\s*[:={]|health_?check\s*[:={]|\b(is_?)?(ready|healthy|alive|readiness|liveness|healthz|readyz)\s*\(", re.I
)
#: Whether two things are the same, and in which order they come.
EQUALITY: Final = re.compile(
    r"\bequals\w*\(|compare_?to|\bhash_?code\b|[=!]==|\b__(eq|hash|lt)__|\bcmp\b|comparator|collat|casefold|equal_?fold|ignore_?case"
    r"|to_?(lower|upper)(_?case)?\(|\b(down|up)case\b|\.(lower|upper|strip|trim)\w*\(|normali[sz]e|\brecord\b.*\(|derive\(.*(eq|ord)",
    re.I,
)
#: Languages, countries and time zones.
LOCALE: Final = re.compile(
    r"locale|\blang\b|\blc_\w+|\btz\b|tz_?(data|info)|zone_?(info|id)|time_?zone|utc_?now|\butc\b|culture_?info|strftime|set_?locale|charset"
    r"|(?<![-\w])encoding\b|utf-?8|latin-?1",
    re.I,
)
#: Something that is set up before it is used.
SETS_UP: Final = re.compile(
    r"=\s*(make\(|new\b|\[\]|\{\}|dict\(|list\(|set\(|\w+\.new\b|Some\(|\w+\.(of|empty)\()|\b(init\w*|set_?up|register\w*|bootstrap|configure)\("
    r"|\b(make|new)\(map",
    re.I,
)
#: Who may do what.
ALLOWS: Final = re.compile(
    r"\bgrant\b|\ballow|permission|\brole(s|_?ref|_?binding)?\b|\bscopes?\b|polic(y|ies)|\bactions?\b|\bverbs?\b|principals?\b|identifiers|assume_?role|\.arn\b|\bacl\b|\biam\b"
    r"|authori[sz]|same_?site|http_?only|\bcors\b|origins?\b|row level security",
    re.I,
)
#: Values that tell series of one metric apart: each new one is kept.
LABELS: Final = re.compile(r"label(s|_?names|_?values)?\w*\(|\wVec\(|\.tags?\(|\btags\s*=|set_?attributes?\(", re.I)
#: Values of which there is no end.
ENDLESS_LABEL: Final = re.compile(
    r"(?<![a-z])_?(id|uuid|guid|user|email|session|token|path|url|uri|ip|addr\w*|host|name|key)(?![a-z])", re.I
)
#: What an error says.
RAISES: Final = re.compile(
    r"\braise\b|\bthrow\b|\bpanic!?\(|errorf?\(|errors\.new|fmt\.errorf|\bErr\(|abort\(|bail!|\bnew \w*(error|exception)\(", re.I
)
LOOKUP: Final = re.compile(r"getenv|environ|process\.env|config(uration)?\b|settings?\b|properties|\benv\(|secret|viper|@Value|vault", re.I)
WRITTEN: Final = re.compile(r"\b(to_?string|to_?s|str|string|encode|format|sprintf|render\w*)\b\s*[(.!]|\bf\"", re.I)
CONVERT: Final = re.compile(
    r"\b\w*(b64|base64)\w*\b|\b(int|float|double|long|decimal|number|u?int\d+|i\d+|parse\w*|to_?(int|i|f)|cast|convert|round\w*|floor"
    r"|ceil|truncate|set_?scale|big_?decimal|to_?double|from_?iso\w*|decode|unix|timestamp|time_?zone|tz_?info"
    r"|utc|milli\w*|cents?)\b\s*[(<.!=]",
    re.I,
)
#: Where a number is more than a quantity.
NO_QUANTITY: Final = re.compile(r"cron|schedul|port\b|cidr|\bif\b|\bwhen\b|\bwhile\b|[<>]=?\s*\d|[=!]=", re.I)
#: What ends a call that takes too long, handed on.
HANDED_ON: Final = re.compile(r"\bctx\b|with_?context|cancellation_?token|abort_?(signal|controller)|\bsignal\b", re.I)
AWAIT: Final = re.compile(r"\bawait\b\s*")
#: A client or a pool that is made.
MAKES_CLIENT: Final = re.compile(r"\b(new\s+)?\w*(client|pool|connection|channel|session|transport|engine)(::new)?\(", re.I)
#: Which rows are found.
FILTERS: Final = re.compile(
    r"\bwhere\b|\bscope\b|\bfilter(_by)?\b|\bhaving\b|\bpredicate\b|find_?(by|all|many)\b|deleted_?at|tenant_?id", re.I
)
#: Conditions for which an index is no use.
SCANS: Final = re.compile(
    r"[\"'](wildcard|regexp|fuzzy|script(_score)?|query_string)[\"']|\bi?like\b.*%|\b(where|and|on)\b.*\b(lower|upper|trim|date|cast"
    r"|coalesce|substr\w*|to_char|year)\(|\bwhere\b.*\bor\b.*=|\bnot in\b"
    r"|\bcross join\b|\boffset\b",
    re.I,
)
#: A value that is taken times a power of something.
SCALES: Final = re.compile(r"[*/]\s*(10+|1_000|1000_000|1e\d+|60|1024|100\.0)\b")
HEADERS: Final = re.compile(
    r"content-?type|authorization|user-?agent|[\"'`]x-[\w-]+[\"'`]|idempotency-?key|\betag\b|if-(none-)?match|cache-?control|\bvary\b"
    r"|set_?header|headers?\s*[.:=\[({]",
    re.I,
)
#: What tells a repetition from something new.
REPEATS: Final = re.compile(r"idempoten|dedup|\bunique\b|upsert|on conflict|not exists|\bseen\b|already|duplicate", re.I)
#: Whom to trust.
TRUSTS: Final = re.compile(
    r"\bverify\b|\bca_?(certs?|file|bundle|path)\b|\b[sm]?tls\w*|\bssl\w*|\bcerts?\b|certificate|trust_?store|key_?store|\.pem\b|cacerts",
    re.I,
)
NETWORKED: Final = re.compile(r"security_?group|network_?polic|\b(in|e)gress\s*[:{]|firewall|cidr|pod_?selector", re.I)
#: Many at once.
PARALLEL: Final = re.compile(
    r"promise\.all|\bgather\(|when_?all|wait_?group|errgroup|par_iter|parallel|\bgo\s+\w+|go func|\bspawn|new thread\(|threading\.thread\(",
    re.I,
)
#: Where something may run.
PLACEMENT: Final = re.compile(r"node_?selector|toleration|affinity|\btaints?\b|topology_?spread|node_?pool|priority_?class|placement", re.I)
#: Where data lies, and whether it may be written.
VOLUMES: Final = re.compile(
    r"volume|\bempty_?dir|mount|host_?path|tmpfs|storage_?class|read_?only_?root|persistent_?volume|mk(d|s)temp|temporary_?(directory|file)"
    r"|create_?temp|[\"'`]/tmp/",
    re.I,
)
#: Who gets the requests.
SELECTS: Final = re.compile(r"\bselector\b|match_?labels|\bbackends?\b|upstream\b|target_?(group|port)|\bsubset\b", re.I)
#: How something ends.
ENDS: Final = re.compile(r"pre_?stop|grace|terminat|graceful|shutdown|\bdrain|life_?cycle|\.close\(\)", re.I)
#: What runs at each write.
TRIGGERS: Final = re.compile(
    r"\btouch:\s*true|\bcreate\s+(or replace\s+)?(constraint\s+)?(trigger|rule|materialized view)\b|\b(after|before)_?(save|commit"
    r"|create|update|insert)\b"
    r"|@(pre|post)_?(persist|update)|signals?\.\w+\.connect|receiver\(",
    re.I,
)
#: Everything at once, and piece by piece.
WHOLE: Final = re.compile(
    r"buffer\.concat|fetch_?all|find_?all|\.all\(\)|\bto_?(list|array)\(|\.collect\(|read_?all|readlines|\.read\(\)|\bbuffer\(|load_?all|array\.from"
    r"|select \*",
    re.I,
)
PIECES: Final = re.compile(r"\byield|stream|cursor|iterat|paginat|page_?request|chunk|fetch_?size|\bpipe\(", re.I)
UNITED: Final = re.compile(
    r"time\.(?:nanosecond|microsecond|millisecond|second|minute|hour)|timeunit\.\w+|duration\.of\w+|\b(?:p?setex|p?expire)\b"
    r"|\b(?:milliseconds?|millis|seconds|minutes|hours|days)\b",
    re.I,
)
#: Leaves, or goes on, before the rest is done.
LEAVES: Final = re.compile(
    r"^(return|continue|break|next)\b|\bif\b.*\b(return|continue|break)\b|\b(return|next) (if|unless)\b|guard\b.*\belse\b", re.I
)
QUEUES: Final = re.compile(r"make\(chan|channel\(|queue(<[^>]*>)?\(|\bdeque\(|mpsc|ring_?buffer", re.I)
ACKS: Final = re.compile(r"\bn?ack\b|basic_?n?ack|\.ack\w*\(|commit\w*\(|\.delete_?message", re.I)
#: How times are written.
TIMES: Final = re.compile(
    r"date_?time_?formatter|strftime|strptime|of_?pattern|date_?format|simple_?date|to_?iso_?string|parse_?date|\bmoment\(|iso_?format"
    r"|from_?iso|time\.(parse|format)|rfc3339|\bto_?timestamp\(",
    re.I,
)
#: What is answered.
ANSWERS: Final = re.compile(
    r"\bstatus_?code\b.*\d{3}|(status|write_?header|\.code|respond|response|http\w*)\b.*\b[2-5]\d\d\b|\bstatus\w*\.\w+", re.I
)
DEFERS: Final = re.compile(r"\bdefer\b")
#: Settings that are there or not: in a list, an environment, a file.
SETTING: Final = re.compile(r"^(-\s+)?(name:\s*[\w.-]+|[\w./\"-]+\s*[:=]\s*\S|\{.*\}|[\w-]+\s+\S+;?$|-\s+\S)")
#: A statement for a database, in quotes.
STATED: Final = re.compile(
    r"^.?\s*(select|insert|update|delete|create|alter|drop|vacuum|lock|truncate|analyze|set|grant|revoke|reindex)\b", re.I
)
#: How long connections live.
LIVES: Final = re.compile(
    r"keep_?alives?|max_?connection_?age|conn\w*_?(life|idle)|idle_?(time|conn)|ping_?interval|\bhttp2\b|http_?version", re.I
)
#: How load is shared.
BALANCES: Final = re.compile(
    r"round_?robin|lb_?policy|load_?balanc|least_?(conn|request)|ring_?hash|sticky|consistent_?hash|weighted", re.I
)
#: How queries are planned.
PLANS: Final = re.compile(
    r"statistics_?target|\banalyze\b|plan_?cache|random_?page_?cost|enable_?(seqscan|nestloop|hashjoin)|optimi[sz]er|\buse index\b|->>"
    r"|\border by rand",
    re.I,
)
SIGNS: Final = re.compile(
    r"\bhmac|\bsign(ature|ed|er|ing)?\b|\bsha\d*\(|digest|encrypt|decrypt|\bsecret\b|\btoken\b|\bnonce\b|\bsalt\b", re.I
)
ROUTES: Final = re.compile(
    r"\bresources?\s+:|\bonly:|\brouter?\.\w+\(|@\w*(mapping|route)\(|\bpath\(|handle_?func|map_?(get|post|put|delete)\(|\broute\b|rewrite\b",
    re.I,
)
#: What each request passes.
PASSED: Final = re.compile(r"middleware|interceptor|filter_?chain|before_?(action|request)|\bapp\.use\(|\bplug\b", re.I)
SESSIONS: Final = re.compile(r"\bsessions?(_?(id|store|key))?\b|cookie", re.I)
#: Done later, by somebody else.
LATER: Final = re.compile(
    r"\.delay\(|apply_async|perform_(async|later)|deliver_later|enqueue\w*\(|\bgo\s+[\w.]+\(|\bgo func|set_?immediate|create_task"
    r"|\bsubmit\(",
    re.I,
)
IF: Final = re.compile(r"^(\}?\s*(else )?if\b|unless\b|when\b|case\b)", re.I)
#: What in code makes the key of something.
KEY_FIELD: Final = re.compile(r"\bkey:\s", re.I)
#: An argument with its name; a setter.
ARGUMENT: Final = re.compile(r"[(,]\s*(\w+)\s*[=:]\s*[^=\s]|\.((?:set|with|enable|disable)[A-Z_]\w*)\(")
#: An argument of a program, with a number.
OPTION: Final = re.compile(r"(--?[a-z][\w-]*)[\"',= ]+(\d+)\b")
