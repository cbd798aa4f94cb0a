"""Everything that listens: the OTLP receivers over gRPC and HTTP, and the web port."""

from __future__ import annotations

import threading

from exporter.api import Api
from exporter.metrics import Metrics
from exporter.receiver.desk import Desk
from exporter.receiver.grpc import GrpcReceiver
from exporter.receiver.http import HttpReceiver
from exporter.receiver.ports import bound_port_error
from exporter.receiver.settings import GrpcSettings, HttpSettings
from exporter.reload import StartError, tls_files
from exporter.sections import Receiver, Web, split_endpoint
from exporter.web import WebServer


class Listeners:
    """Ports, bound from the start: what cannot be had is known before anything runs. `addresses`: host:port by name."""

    def __init__(self, desk: Desk, api: Api, *, receiver: Receiver, web: Web, metrics: Metrics) -> None:
        """Bind all or none. Raises: StartError or OSError naming the setting."""
        self.addresses: dict[str, str] = {}
        self._receivers: list[GrpcReceiver | HttpReceiver] = []
        self._web = _web_server(api, web, metrics)
        self._listens("web", web.endpoint, self._web.server_address[1])
        try:
            if receiver.grpc.enabled:
                self._open_grpc(desk, receiver)
            if receiver.http.enabled:
                self._open_http(desk, receiver)
        except (OSError, StartError):
            self._web.server_close()
            for each in self._receivers:
                each.stop(0)
            raise

    def start(self) -> None:
        """The web port, then the receivers."""
        self._web.start()
        for each in self._receivers:
            each.start()

    def stop_receivers(self, grace_seconds: float) -> None:
        """Take no new requests; those in flight get so long. Both at once."""
        stops = [threading.Thread(target=each.stop, args=(grace_seconds,)) for each in self._receivers]
        for each in stops:
            each.start()
        for each in stops:
            each.join()

    def stop_web(self) -> None:
        """The last to go: it says what goes on while the rest stops."""
        self._web.stop()

    def _open_grpc(self, desk: Desk, receiver: Receiver) -> None:
        chosen = receiver.grpc
        settings = GrpcSettings(endpoint=chosen.endpoint, workers=chosen.workers, tls=tls_files("receiver.grpc.tls", chosen.tls))
        server = GrpcReceiver(desk, settings=settings)
        self._receivers.append(server)
        self._listens("grpc", chosen.endpoint, server.port)

    def _open_http(self, desk: Desk, receiver: Receiver) -> None:
        chosen = receiver.http
        settings = HttpSettings(endpoint=chosen.endpoint, connections=chosen.connections, tls=tls_files("receiver.http.tls", chosen.tls))
        server = HttpReceiver(desk, settings=settings)
        self._receivers.append(server)
        self._listens("http", chosen.endpoint, server.port)

    def _listens(self, name: str, endpoint: str, port: int) -> None:
        self.addresses[name] = f"{endpoint.rpartition(':')[0]}:{port}"


def _web_server(api: Api, web: Web, metrics: Metrics) -> WebServer:
    try:
        return WebServer(
            split_endpoint(web.endpoint),
            api,
            max_body_bytes=web.max_body_kib * 1024,
            timeout_seconds=web.timeout_seconds,
            counted=lambda path, code: metrics.count("rca_web_requests_total", path=path, code=str(code)),
        )
    except OSError as error:
        raise bound_port_error("web.endpoint", web.endpoint, str(error)) from None
