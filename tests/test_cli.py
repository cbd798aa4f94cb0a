"""The command: the answer and nothing else on standard output, 0, 1 or 2 as exit status, help with an example."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from exporter import __version__, config
from exporter.__main__ import COMMANDS, main
from exporter.service import Service
from exporter.store import Store
from tests.findings import change, incident
from tests.serving import ROOT, settings

IDLE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("cli")
    store = Store(folder / "data")
    store.add_changes([change()], 1)
    store.close_windows(1, [incident()]).result()
    store.close()
    file = settings(folder)
    service = Service(config.load(str(file), {}), load=lambda: config.load(str(file), {}), stdout=io.BytesIO())
    service.start()
    yield f"http://{service.listeners.addresses['web']}"
    service.stop()


def ran(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    try:
        status = main(words)
    except SystemExit as error:
        status = int(str(error.code))
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo" or (ROOT / "exporter" / "demo.py").exists()])
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, err = ran(capsys, name, "--help")
    assert (status, err) == (0, "")
    assert "example" in out
    assert f"whence {name}" in out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = ran(capsys, "--help")
    assert status == 0
    assert all(f"\n  {name}" in out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "usage: whence COMMAND"),
        (("statsu",), "there is no command 'statsu'; did you mean status?"),
        (("status", "--jsn"), "unrecognized arguments: --jsn"),
        (("incidents",), "required"),
        (("changes", "add", "--url", IDLE), "--type or --file is needed"),
        (("changes", "add", "--file", "/none", "--url", IDLE), "--file /none: "),
        (("explain", "--at", "noon"), "not a time"),
        (("status", "--url", "ftp://x"), "--url must begin with http"),
        (("status", "--config", "/none.yaml"), "/none.yaml: cannot be read"),
    ],
)
def test_wrong_usage_is_2_and_says_why(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    status, out, err = ran(capsys, *words)
    assert (status, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("words", [("status",), ("incidents", "list"), ("changes", "list"), ("explain", "--at", "1700000000")])
def test_without_a_running_whence_it_is_1_and_says_so(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    status, out, err = ran(capsys, *words, "--url", IDLE)
    assert (status, out) == (1, "")
    assert "whence is not running at http://127.0.0.1:1 (Connection refused): start it with `whence serve`" in err


def test_status(capsys: pytest.CaptureFixture[str], url: str) -> None:
    status, out, err = ran(capsys, "status", "--url", url)
    assert (status, err) == (0, "")
    assert out.startswith(f"whence {__version__}: ready")
    assert json.loads(ran(capsys, "status", "--json", "--url", url)[1])["state"] == "ready"


def test_incidents(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert ran(capsys, "incidents", "list", "--url", url)[1] == (
        "incident          state  severity  since                     root cause  sure  title\n"
        "5ca1ab1e00000001  open   critical  2023-11-14T22:13:20.000Z  cart        90%   cart: slower by itself since deploy-7\n"
    )
    status, out, _ = ran(capsys, "incidents", "show", "5ca1ab1e00000001", "--url", url)
    assert status == 0
    assert "GET /cart of cart takes 0.9 s by itself" in out
    assert json.loads(ran(capsys, "incidents", "show", "5ca1ab1e00000001", "--json", "--url", url)[1])["root_cause"] == "cart"
    status, out, err = ran(capsys, "incidents", "show", "none", "--url", url)
    assert (status, out, err) == (1, "", "whence incidents: id: there is no incident none\n")


def test_changes(capsys: pytest.CaptureFixture[str], url: str, tmp_path: Path) -> None:
    words = (
        "--type",
        "config.change",
        "--service",
        "pay",
        "--time",
        "2026-01-02T03:04:05Z",
        "--param",
        "pool=5..50",
        "--changed-file",
        "a.yaml",
    )
    status, out, err = ran(capsys, "changes", "add", *words, "--summary", "Larger pool", "--url", url)
    assert (status, err) == (0, "")
    listed = json.loads(ran(capsys, "changes", "list", "--service", "pay", "--json", "--url", url)[1])["changes"]
    assert [(one["id"], one["files"], one["params"][0]["name"]) for one in listed] == [(out.strip(), ["a.yaml"], "pool")]
    file = tmp_path / "change.json"
    file.write_text('[{"type": "deployment", "id": "from-file"}]')
    assert ran(capsys, "changes", "add", "--file", str(file), "--url", url)[:2] == (0, "from-file\n")
    assert "from-file" in ran(capsys, "changes", "list", "--url", url)[1]
    status, out, err = ran(capsys, "changes", "add", "--type", "deployment", "--time", "noon", "--url", url)
    assert (status, out) == (1, "")
    assert err.startswith("whence changes: time: must be RFC 3339")


def test_config(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "whence.yaml"
    file.write_text("web: {auth: {bearer_token: hush}}\n")
    assert ran(capsys, "config", "check", "--config", str(file)) == (0, f"{file}: good\n", "")
    status, out, _ = ran(capsys, "config", "show", "--config", str(file))
    assert status == 0
    assert "hush" not in out
    assert yaml.safe_load(out)["receiver"]["grpc"]["endpoint"] == "127.0.0.1:4317"
    file.write_text("web: {prot: 3}\n")
    assert ran(capsys, "config", "check", "--config", str(file)) == (
        2,
        "",
        "whence config: web.prot: unknown setting; did you mean web.endpoint?\n",
    )
    assert json.loads(ran(capsys, "config", "check", "--json", "--config", str(file))[1])["ok"] is False
    assert json.loads(ran(capsys, "config", "schema")[1])["additionalProperties"] is False


def test_what_is_shown_can_be_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "whence.yaml"
    file.write_text(ran(capsys, "config", "show")[1])
    assert config.load(str(file), {}).engine == config.load(None, {}).engine


def test_explain_streams_a_recording_up_to_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    recording = str(ROOT / "exporter" / "recordings" / "petshop")
    status, out, err = ran(capsys, "explain", recording, "--at", "1970-01-02T00:00:00Z")
    assert (status, out) == (1, "")
    assert "the recordings hold nothing of that time" in err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "version")[1].startswith(f"whence {__version__} (Python 3.")
    assert json.loads(ran(capsys, "--version", "--json")[1])["whence"] == __version__


def test_a_reader_that_has_enough_is_no_error() -> None:
    line = f"{sys.executable} -m exporter config schema | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_other_commands_do_not_wait_for_the_engine() -> None:
    code = (
        "import sys; from exporter.__main__ import main; main(['config', 'schema']); print('faiss' in sys.modules, 'grpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
