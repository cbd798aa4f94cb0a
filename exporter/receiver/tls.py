"""TLS and mTLS of both transports; certificates are read again when their files change."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

from exporter.receiver.settings import TlsFiles

log = logging.getLogger("whence.receiver")


def stamp(files: TlsFiles) -> tuple[int, ...]:
    """What changes when a file does: time and size of each. Raises: OSError where one is missing."""
    stats = [Path(name).stat() for name in (files.cert_file, files.key_file, files.client_ca_file) if name]
    return tuple(value for stat in stats for value in (stat.st_mtime_ns, stat.st_size, stat.st_ino))


def certificates(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """Key, chain and client certificates for grpcio. Raises: OSError or ssl.SSLError where they cannot be read or do not fit."""
    ssl_context(files)  # grpcio would only say that a handshake failed
    ca = Path(files.client_ca_file).read_bytes() if files.client_ca_file else None
    return grpc.ssl_server_certificate_configuration([(Path(files.key_file).read_bytes(), Path(files.cert_file).read_bytes())], ca)


def grpc_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Server credentials that follow their files. A half-written or wrong file leaves the old ones in use."""
    current = stamp(files)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """New certificates, None where nothing changed: grpcio asks before each handshake."""
        nonlocal current
        try:
            now = stamp(files)
            if now == current:
                return None
            fresh = certificates(files)
        except (OSError, ssl.SSLError) as error:
            log.error("receiver.grpc.tls: read %s: %s; the old certificate stays in use", files.cert_file, error)
            return None
        current = now
        log.info("receiver.grpc.tls: certificate read again")
        return fresh

    return grpc.dynamic_ssl_server_credentials(certificates(files), fetch, require_client_authentication=bool(files.client_ca_file))


def ssl_context(files: TlsFiles) -> ssl.SSLContext:
    """Context of an HTTP server. Raises: OSError or ssl.SSLError where the files cannot be read or do not fit."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_file, files.key_file)
    if files.client_ca_file:
        context.load_verify_locations(files.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class FollowedContext:
    """A context of an HTTP server that follows its files; a wrong file leaves the old one in use."""

    def __init__(self, files: TlsFiles) -> None:
        self._files, self._stamp, self._context = files, stamp(files), ssl_context(files)

    def context(self) -> ssl.SSLContext:
        """The context for the next connection."""
        try:
            now = stamp(self._files)
            if now != self._stamp:
                self._context, self._stamp = ssl_context(self._files), now
                log.info("receiver.http.tls: certificate read again")
        except (OSError, ssl.SSLError) as error:
            log.error("receiver.http.tls: read %s: %s; the old certificate stays in use", self._files.cert_file, error)
        return self._context
