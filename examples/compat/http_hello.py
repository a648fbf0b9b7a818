"""http.server on triosock.compat. Try: curl http://localhost:8000/world

http.server is not changed; install() must be called before its import.
"""

import sys

from triosock import compat

compat.install()

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: E402


class Hello(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"hello {self.path.strip('/')}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with ThreadingHTTPServer(("127.0.0.1", port), Hello) as server:
        print("listening on port", server.server_address[1], flush=True)
        server.serve_forever()
