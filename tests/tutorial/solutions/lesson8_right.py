from triosock import compat

cut = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        try:
            for line in self.rfile:
                self.wfile.write(line.upper())
        except compat.RequestCut:
            cut.append(self.client_address)


class Server(compat.ThreadingTCPServer):
    trio_policy = compat.Policy(request_timeout=1.0)
