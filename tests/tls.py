"""An end of TLS to stand before a server: the wheels of Redis that the tests use don't speak it."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import sys
import threading
from pathlib import Path

CERTS = Path(__file__).parent / "unit" / "certs"  # self-signed for localhost, valid until 2126, of use to nobody
TRUSTED = f"?ssl_ca_certs={CERTS / 'localhost.crt'}"


class TlsEnd:
    """Takes TLS on a port of 127.0.0.1 and passes the plain bytes on. `frozen`: it goes on taking, and says nothing; `mute`: new
    connections aren't even greeted."""

    def __init__(self, upstream: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(CERTS / "localhost.crt", CERTS / "localhost.key")
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.frozen = False
        self.mute = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        """One thread for both ways: an SSL object must not be read and written at the same time."""
        if self.mute.is_set():
            self._open.append(raw)
            return
        try:
            with (
                self._context.wrap_socket(raw, server_side=True) as client,
                socket.create_connection(("127.0.0.1", self._upstream)) as server,
            ):
                self._open += [client, server]
                while True:
                    ready = [client] if client.pending() else select.select([client, server], [], [])[0]
                    for source in ready:
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        if not self.frozen:
                            (server if source is client else client).sendall(data)
        except (OSError, ValueError):  # closed by one of the three
            raw.close()

    def spoil(self, spoilt: bool = True) -> None:
        """No new session can be agreed on any more, and those that are open end."""
        self._context.sni_callback = (lambda *_: ssl.ALERT_DESCRIPTION_HANDSHAKE_FAILURE) if spoilt else None
        for link in self._open if spoilt else ():
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for link in self._open:
            link.close()


if __name__ == "__main__":  # in a process of its own, before the server on that port, until its standard input ends
    print(TlsEnd(int(sys.argv[1])).port, flush=True)
    sys.stdin.read()
