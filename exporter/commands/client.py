"""Asks a running whence over its API, for the commands that need one."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from exporter import config
from exporter.config import ConfigError
from exporter.sections import split_endpoint

TIMEOUT_SECONDS = 30.0
ANSWER_LONGEST = 1 << 26
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


class ClientError(Exception):
    """The question could not be asked (status 2), or was answered with an error (status 1)."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the running whence is."""
    parser.add_argument("--config", metavar="FILE", help="settings that the running whence was started with")
    parser.add_argument("--url", metavar="URL", help="address of its web port (default: WHENCE_URL, else web.endpoint of the settings)")


class Client:
    """One running whence."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Raises: ClientError for settings that are wrong."""
        try:
            settings = config.load(args.config).web
            host, port = split_endpoint(settings.endpoint)
            self._token = settings.auth.token()
        except ConfigError as error:
            raise ClientError(str(error), 2) from None
        except (OSError, ValueError) as error:
            raise ClientError(f"web.auth: {error}", 2) from None
        host = ANY_HOST.get(host, host)
        own = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        self.url = (args.url or os.environ.get("WHENCE_URL") or own).rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise ClientError(f"--url must begin with http:// or https://, however: {self.url!r}", 2)

    def get(self, path: str, **query: object) -> Any:
        """The JSON answer to a GET; None values are left out. Raises: ClientError."""
        named = {key: str(value) for key, value in query.items() if value is not None}
        return self._call("GET", path + (f"?{urllib.parse.urlencode(named)}" if named else ""), None)

    def post(self, path: str, body: object) -> Any:
        """The JSON answer to a POST. Raises: ClientError."""
        return self._call("POST", path, json.dumps(body).encode())

    def _call(self, method: str, path: str, body: bytes | None) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.loads(answer.read(ANSWER_LONGEST))
        except urllib.error.HTTPError as error:
            raise ClientError(_said(error)) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            why = getattr(reason, "strerror", None) or reason
            raise ClientError(f"whence is not running at {self.url} ({why}): start it with `whence serve`, or name it by --url") from None


def _said(error: urllib.error.HTTPError) -> str:
    """The message of an error answer."""
    try:
        told = json.loads(error.read(ANSWER_LONGEST))["error"]
        return f"{told['field']}: {told['message']}" if told["field"] else str(told["message"])
    except (ValueError, KeyError, TypeError):
        return f"answered {error.code} {error.reason}"


def fail(command: str, error: ClientError) -> int:
    """Say it on standard error; the exit status."""
    print(f"whence {command}: {error}", file=sys.stderr)
    return error.status


def print_json(value: object) -> None:
    """The answer for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
