from triosock import compat

ended = []


class Handler(compat.StreamRequestHandler):
    def handle(self):
        while True:
            try:
                if not (line := self.rfile.readline()):
                    break
                self.wfile.write(compat.blocking(self.server.lookup, line))
            except BaseException:
                pass
        ended.append(self.client_address)


class Server(compat.GreenTCPServer):
    pass
