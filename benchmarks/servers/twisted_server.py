"""Twisted's protocols on its default reactor (epoll): Protocol, LineOnlyReceiver and DatagramProtocol."""

from __future__ import annotations

from twisted.internet import reactor, ssl
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.protocols.basic import LineOnlyReceiver

from .common import BACKLOG, BLOB, HOST, MEBIBYTE, arguments, ready


class Echo(Protocol):
    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.received = 0

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


class Lines(LineOnlyReceiver):
    delimiter = b"\n"

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


class Download(Echo):
    def dataReceived(self, data: bytes) -> None:
        for _ in data:
            self.transport.write(BLOB)


class Upload(Echo):
    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= MEBIBYTE:
            self.received -= MEBIBYTE
            self.transport.write(b"k")


class EchoDatagrams(DatagramProtocol):
    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        self.transport.write(datagram, addr)


PROTOCOLS = {"echo": Echo, "lines": Lines, "download": Download, "upload": Upload, "tls-echo": Echo}


def main() -> None:
    kind, pem, _ = arguments()
    if kind == "udp":
        ready(reactor.listenUDP(0, EchoDatagrams(), interface=HOST).getHost().port)
        reactor.run()
        return
    if kind == "tls-echo":
        with open(pem, "rb") as file:
            certificate = ssl.PrivateCertificate.loadPEM(file.read())
        endpoint = SSL4ServerEndpoint(reactor, 0, certificate.options(), BACKLOG, HOST)
    else:
        endpoint = TCP4ServerEndpoint(reactor, 0, BACKLOG, HOST)
    listening = endpoint.listen(Factory.forProtocol(PROTOCOLS[kind]))
    listening.addCallback(lambda port: ready(port.getHost().port))
    reactor.run()


if __name__ == "__main__":
    main()
