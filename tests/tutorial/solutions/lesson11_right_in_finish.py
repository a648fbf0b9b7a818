from triosock import compat

ended = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(compat.blocking(self.server.lookup, line))

    def finish(self):
        ended.append(self.client_address)
        super().finish()


class Server(compat.GreenTCPServer):
    pass
