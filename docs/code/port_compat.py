import triosock.compat as socketserver


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    trio_policy = socketserver.Policy(request_timeout=60, max_requests=100, grace=10)


if __name__ == "__main__":
    with Server(("127.0.0.1", 9999), Shout) as server:
        server.serve_forever()
