import triosock


class Shout(triosock.StreamHandler):
    async def handle(self):
        async for line in self.conn.lines():
            await self.conn.send_all(line.upper())


if __name__ == "__main__":
    triosock.run(triosock.serve_tcp, Shout.serve, 9999, host="127.0.0.1")
