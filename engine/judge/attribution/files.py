"""What kinds of files a change touches, and which services they belong to."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

DOCS: Final = re.compile(
    r"(^|/)(docs?|documentation|runbooks?|adr)/|\.(md|rst|adoc)$|(^|/)(readme|license|notice|changelog|codeowners|authors)[\w.]*$", re.I
)
TESTS: Final = re.compile(
    r"(^|/)(tests?|specs?|testdata|fixtures?|__tests__|e2e|mocks?|golden)/|[._-](test|tests|spec)\.\w+$|(^"
    r"|/)test_[\w-]+\.\w+$|Tests?\.(java|kt|cs|scala)$|(^|/)conftest\.py$",
    re.I,
)
CI: Final = re.compile(
    r"(^|/)\.(github|gitlab|circleci|buildkite|husky|vscode|idea)[/.]|(^|/)(jenkinsfile|\.travis\.yml|\.?golangci[\w.]*"
    r"|\.?eslint[\w.]*|\.?prettier[\w.]*|\.editorconfig|\.gitignore|\.pre-commit[\w.-]*)$|lint[\w.]*\.(ya?ml"
    r"|toml|json)$",
    re.I,
)
LOOKS: Final = re.compile(
    r"\.(css|scss|less|sass|svg|png|jpe?g|gif|ico|woff2?|html?|erb|hbs|ejs|twig|jinja2?|po|pot)$|(^|/)(locales?"
    r"|i18n|translations?|assets|static|styles?|themes?)/|(^|/)(theme|palette|colors?|styles?)\.\w+$",
    re.I,
)
ELSEWHERE: Final = re.compile(
    r"(^|[/_.-])(staging|stage|dev|development|sandbox|qa|local|preview|examples?|tools?|scripts?)([/_.-]|$)", re.I
)
MODULES: Final = re.compile(
    r"(^|/)(go\.(mod|sum)|package(-lock)?\.json|yarn\.lock|pnpm-lock\.yaml|requirements[\w.-]*\.txt|poetry\.lock"
    r"|uv\.lock|pipfile(\.lock)?|cargo\.(toml|lock)|gemfile(\.lock)?|composer\.(json|lock)|pom\.xml|build\.gradle(\.kts)?"
    r"|libs\.versions\.toml|[\w.-]+\.csproj|mix\.(exs|lock)|constraints\.txt)$",
    re.I,
)
SHARED: Final = re.compile(
    r"^(pkg|libs?|librar(y|ies)|shared|common|internal|core|platform|packages|crates|modules|gems|gradle|utils?|helpers|framework|vendor|contracts?|schemas?|protos?|protobuf"
    r"|api|idl|models?|sdk|third_party|infra(structure)?|ops|deploy(ments?)?|gitops|manifests?|terraform|helm|charts|k8s|config)(/|$)|^[\w.-]+$",
    re.I,
)
#: What a pipeline or a controller applies once it is merged; no release of a service carries it.
APPLIED: Final = re.compile(
    r"(^|/)(terraform|infra(structure)?|k8s|kubernetes|kustomize|helm|charts?|manifests?|ansible|gitops|argo\w*|flux)/|\.(tf|tfvars|hcl)$",
    re.I,
)
#: Words that make part of a service's name and tell nothing.
GENERIC: Final = frozenset({"service", "services", "svc", "server", "api", "app", "apps", "backend", "prod", "main", "src", "cmd"})
NAME: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
NAME_LEAST: Final = 3


def name_words(name: str) -> tuple[str, ...]:
    """Words of a service's or folder's name that tell it from others, lower case.

    >>> name_words("billingservice"), name_words("PaymentGateway-svc")
    (('billing',), ('payment', 'gateway'))
    """
    found = []
    for part in NAME.findall(name):
        word = part.lower()
        ending = next((each for each in ("service", "svc") if word.endswith(each)), "")
        if ending and len(word) >= len(ending) + NAME_LEAST:
            word = word[: -len(ending)]
        if word not in GENERIC and not word.isdigit():
            found.append(word)
    return tuple(found)


def service_of_file(path: str, services: Iterable[str]) -> str:
    """The service that a file belongs to by its folders; "" if none or it could be several.

    A folder names a service if the words of both are the same, or all words of the shorter are in the longer one.
    >>> service_of_file("services/billing/order.go", ["billingservice", "cart"])
    'billingservice'
    """
    folders = [name_words(part) for part in path.split("/")[:-1]] or [name_words(path.rpartition(".")[0])]
    best: dict[int, list[str]] = {}
    for service in services:
        own = name_words(service.rpartition("/")[2])
        for folder in folders:
            if not own or not folder:
                continue
            if folder == own or "".join(folder) == "".join(own):
                best.setdefault(3, []).append(service)
            elif set(own) < set(folder):
                best.setdefault(2, []).append(service)
            elif set(folder) < set(own) and all(len(word) > NAME_LEAST for word in folder):
                best.setdefault(1, []).append(service)
    for strength in (3, 2, 1):
        names = set(best.get(strength, ()))
        if names:
            return names.pop() if len(names) == 1 else ""
    return ""


def is_shared(path: str) -> bool:
    """Whether a file is code or configuration that many services use, by its top folder, or a list of libraries.

    >>> is_shared("pkg/cache/pool.go"), is_shared("orders/views.py")
    (True, False)
    """
    return bool(SHARED.search(path) or MODULES.search(path))
