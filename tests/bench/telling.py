"""A line about telling: from the publication of an incident until `/metrics` shows it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.peers import whence
from tests.bench.scrape import Scrape
from tests.bench.table import Line, Met
from tests.serving import ROOT

RECORDING = ROOT / "exporter" / "recordings" / "petshop" / "issue_2.jsonl.zst"
LIMIT_SECONDS = 2.0


def told_line(folder: Path) -> Line:
    """A recorded failure is played: the first incident's line on standard output, then `rca_incident_active`, looked for all the time."""
    mine = folder / "told"
    mine.mkdir()
    target = f"<= {LIMIT_SECONDS:g} s"
    with whence(mine) as (server, serving):
        command = [sys.executable, "-m", "exporter", "replay", str(RECORDING), "--to", server.target]
        with (mine / "replay.log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as replay:
            published = shown = 0.0
            end = time.monotonic() + 300
            incident = ""
            while not shown and time.monotonic() < end:
                if not published:
                    written = serving.out.read_text().splitlines()
                    if written and written[0].endswith("}"):
                        published, incident = time.monotonic(), json.loads(written[0])["id"]
                if published and Scrape(serving).total("rca_incident_active", incident_id=incident):
                    shown = time.monotonic()
                time.sleep(0.01)
            replay.terminate()
    name = "publication of an incident to /metrics"
    if not shown:
        return Line(name, target, note="no incident came within 300 s")
    seconds = shown - published
    met: Met = "yes" if seconds <= LIMIT_SECONDS else "no"
    return Line(name, target, f"{seconds:.2f} s, one scrape in it", "", None, met, RECORDING.parent.name)
