from triosock import compat

cut = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class Server(compat.ThreadingTCPServer):
    pass
