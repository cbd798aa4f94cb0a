"""Imports go one way: inside engine along the path of the data, from exporter into engine by its front door only."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: The rooms of engine in the order of the data. A room may import those on its left, and itself.
ORDER = (
    "records",
    "strings",
    "settings",
    "kernels",
    "take",
    "windows",
    "normal",
    "topology",
    "evidence",
    "judge",
    "memory",
    "investigate",
    "pipeline",
)
FRONT_DOOR = {"engine.kernels", "engine.pipeline", "engine.records", "engine.strings", "engine.settings"}
#: What engine may import besides itself: it computes.
COMPUTES = {"numpy", "faiss", "networkx", "torch"}
#: Of the standard library: clocks, threads, sockets, processes, files, logs, global random state.
TALKS = (
    {"asyncio", "concurrent", "ctypes", "ftplib", "glob", "http", "io", "logging", "mmap", "multiprocessing", "os", "pathlib", "pickle"}
    | {
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "shelve",
        "shutil",
        "signal",
        "socket",
        "socketserver",
        "sqlite3",
        "ssl",
        "subprocess",
    }
    | {"tempfile", "threading", "time", "urllib", "uuid"}
)
#: Names whose call reads a clock, a file or global random state.
CALLS = {"open", "print", "input", "exec", "eval", "breakpoint"}
RANDOM_STATE = {"seed", "rand", "randn", "random", "choice", "shuffle", "permutation", "normal", "uniform", "randint"}


def sources(package: str) -> list[Path]:
    """Python files of a package."""
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no sources in {package}"
    return found


def module_name(path: Path) -> str:
    """engine/take/logs.py -> engine.take.logs."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, text: str | None = None) -> list[tuple[int, str]]:
    """(line, module) of every import of a file, inside functions too."""
    tree = ast.parse(path.read_text() if text is None else text)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            base = node.module or ""
            # `from engine import records` names a module, `from engine.records import Batch` a thing inside one
            found += [(node.lineno, f"{base}.{alias.name}" if base in {"engine", "exporter"} else base) for alias in node.names]
    return found


def room(module: str) -> str:
    """engine.take.logs -> take."""
    return module.split(".")[1] if "." in module else ""


def backward(module: str, path: Path, text: str | None = None) -> list[str]:
    """Imports of a module of engine that go against the order."""
    own = room(module)
    if not own:
        return []
    return [
        f"{module}:{line}: {own} imports {name}"
        for line, name in imports(path, text)
        if name.startswith("engine.") and ORDER.index(room(name)) > ORDER.index(own)
    ]


@pytest.mark.parametrize("path", sources("engine"), ids=module_name)
def test_imports_inside_engine_go_one_way(path: Path) -> None:
    assert backward(module_name(path), path) == []


def test_an_import_against_the_order_is_noticed() -> None:
    path = ROOT / "engine" / "take" / "planted.py"
    assert backward("engine.take.planted", path, "from engine.judge import rank\n") == ["engine.take.planted:1: take imports engine.judge"]


@pytest.mark.parametrize("path", sources("engine"), ids=module_name)
def test_engine_imports_nothing_that_talks(path: Path) -> None:
    allowed = {"engine"} | COMPUTES | (set(sys.stdlib_module_names) - TALKS)
    outside = [f"{path.name}:{line}: {name}" for line, name in imports(path) if name.split(".")[0] not in allowed]
    assert outside == []


@pytest.mark.parametrize("path", sources("engine"), ids=module_name)
def test_engine_reads_no_clock_file_or_global_chance(path: Path) -> None:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name) and function.id in CALLS:
                found.append(f"{path.name}:{node.lineno}: {function.id}()")
            elif isinstance(function, ast.Attribute) and ast.unparse(function.value) in {"np.random", "numpy.random", "random"}:
                unseeded = function.attr == "default_rng" and not node.args
                if unseeded or function.attr in RANDOM_STATE:
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(function)}()")
    assert found == []


@pytest.mark.parametrize("path", sources("exporter"), ids=module_name)
def test_exporter_enters_engine_by_its_front_door(path: Path) -> None:
    inside = [f"{path.name}:{line}: {name}" for line, name in imports(path) if name.split(".")[0] == "engine" and name not in FRONT_DOOR]
    assert inside == []


def test_only_learning_imports_torch() -> None:
    users = {
        module_name(path)
        for package in ("engine", "exporter")
        for path in sources(package)
        if any(name.split(".")[0] == "torch" for _, name in imports(path))
    }
    assert users <= {"engine.normal.learn"}


def test_every_import_is_declared() -> None:
    """What exporter and engine import is a dependency of the distribution, not something that happens to be installed."""
    named_otherwise = {
        "faiss": "faiss-cpu",
        "google": "protobuf",
        "grpc": "grpcio",
        "grpc_health": "grpcio-health-checking",
        "opentelemetry": "opentelemetry-proto",
        "prometheus_client": "prometheus-client",
        "pydantic_core": "pydantic",
        "yaml": "pyyaml",
    }
    pyproject = (ROOT / "pyproject.toml").read_text()
    unknown = set()
    for package in ("engine", "exporter"):
        for path in sources(package):
            for line, name in imports(path):
                top = name.split(".")[0]
                if top in {"engine", "exporter"} or top in sys.stdlib_module_names:
                    continue
                if f'"{named_otherwise.get(top, top)}>=' not in pyproject:
                    unknown.add(f"{module_name(path)}:{line}: {top}")
    assert sorted(unknown) == []
