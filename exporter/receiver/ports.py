"""Why a port could not be had, in words that name the setting."""

from __future__ import annotations

import errno
import socket

HINTS = {4317: "127.0.0.1:14317", 4318: "127.0.0.1:14318"}


def bound_port_error(setting: str, endpoint: str, reason: str) -> OSError:
    """The error to stop the start with. Asks the system why: grpcio does not tell."""
    host, _, port = endpoint.rpartition(":")
    code = errno.EINVAL
    try:
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), int(port)))
    except OSError as error:
        code, reason = error.errno or code, error.strerror or str(error)
    except (ValueError, OverflowError) as error:
        reason = str(error)
    if code != errno.EADDRINUSE:
        return OSError(code, f"{setting}: cannot listen on {endpoint}: {reason}")
    other = HINTS.get(int(port))
    hint = f"; a Collector on this host probably owns port {port}: set {setting} to {other} and let it export there" if other else ""
    return OSError(code, f"{setting}: {endpoint} is taken{hint}")
