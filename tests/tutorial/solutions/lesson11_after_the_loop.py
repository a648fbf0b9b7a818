from triosock import compat

ended = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(compat.blocking(self.server.lookup, line))
        ended.append(self.client_address)


class Server(compat.GreenTCPServer):
    pass
