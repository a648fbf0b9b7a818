"""A threaded server that ends properly without nurseries: the contrast in the discussion."""

import contextlib
import selectors
import socket
import threading


class Server:
    def __init__(self, handle):
        self.handle = handle
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.wake, self.waker = socket.socketpair()  # 1: how to end accept()
        self.lock = threading.Lock()
        self.connections = {}  # 2: the open connections, to end them
        self.empty = threading.Condition(self.lock)
        self.ending = False
        self.stopped = threading.Event()

    def serve(self):
        with self.listener, selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.wake, selectors.EVENT_READ)
            while not self.ending:
                for key, _ in selector.select():
                    if key.fileobj is self.listener:
                        self.admit(self.listener.accept()[0])
        # 5: closes the listener, and resets connections in its queue
        self.stopped.set()

    def admit(self, sock):
        thread = threading.Thread(target=self.run, args=(sock,))
        with self.lock:  # 3: counted before it runs, or the end misses it
            self.connections[sock] = thread
        thread.start()

    def run(self, sock):
        try:
            with sock:
                self.handle(sock)
        except OSError:
            pass  # 4: ended by us, or disconnected: unknown
        finally:
            with self.lock:
                del self.connections[sock]
                self.empty.notify_all()

    def end(self, grace):
        self.ending = True
        self.waker.send(b"x")
        self.stopped.wait()  # or a connection is accepted after the last check
        with self.lock:
            self.empty.wait_for(lambda: not self.connections, timeout=grace)
            for sock in self.connections:  # 6: idle or busy: unknown
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
            self.empty.wait_for(lambda: not self.connections)  # 7: hangs if a thread is not in its socket
        self.wake.close()
        self.waker.close()
