"""What the settings name outside themselves, tokens and certificates, read at start and on reload; and what a reload cannot change."""

from __future__ import annotations

import ssl

from exporter.receiver.settings import TlsFiles
from exporter.receiver.tls import ssl_context
from exporter.sections import Config, Section, Tls

#: What takes effect on reload; the rest needs a restart.
RELOADED = ("receiver.auth", "web.auth", "sinks.annotations", "log")


class StartError(Exception):
    """whence cannot start, or go on with new settings; says why and names the setting."""


def tls_files(setting: str, tls: Tls) -> TlsFiles:
    """The files, tried once. Raises: StartError naming the setting."""
    files = TlsFiles(tls.cert_file, tls.key_file, tls.client_ca_file)
    try:
        if files.cert_file:
            ssl_context(files)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"{setting}: {files.cert_file}, {files.key_file}: {error}") from None
    return files


def tokens_of(config: Config) -> dict[str, str]:
    """Every token, read from its file where it has one. Raises: StartError naming the setting."""
    found = {}
    annotations = config.sinks.annotations
    for name, setting, read in (
        ("receiver", "receiver.auth", config.receiver.auth.token),
        ("web", "web.auth", config.web.auth.token),
        ("annotations", "sinks.annotations", annotations.read_token),
    ):
        try:
            found[name] = read()
        except OSError as error:
            raise StartError(f"{setting}: token file {error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise StartError(f"{setting}: {error}") from None
    return found


def changed_settings(before: Section, after: Section, prefix: str = "") -> list[str]:
    """Dotted names of settings that differ."""
    found = []
    for name in type(after).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if isinstance(new, Section) and isinstance(old, Section):
            found += changed_settings(old, new, f"{prefix}{name}.")
        elif old != new:
            found.append(prefix + name)
    return found


def needs_restart(before: Config, after: Config) -> list[str]:
    """Settings that differ and that a reload does not change."""
    return [name for name in changed_settings(before, after) if not name.startswith(RELOADED)]
