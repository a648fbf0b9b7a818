from triosock import compat

ended = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        try:
            for line in self.rfile:
                self.wfile.write(self.server.lookup(line))
        finally:
            ended.append(self.client_address)


class Server(compat.ThreadingTCPServer):
    pass
