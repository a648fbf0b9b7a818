"""The library itself, in nine packages. Each imports only from those above it, and has no circle inside.

    model        the values: errors, addresses, configuration, events, peer credentials
    protocols    parsers: framing, PROXY headers; no I/O
    registry     what is served, its deadlines, and drains
    transport    what carries bytes: sockets, any stream of trio's, TLS over either
    listeners    listeners: opening, inheriting, socket files, the accept loop
    server       what all servers share: `drain` and its kind, and one run of a handler
    stream       connections: the handler's argument, its task, the server, serve_tcp
    datagram     datagrams: sockets, the receive queue, dispatch, sessions, the server, serve_udp
    inspect      what exists at this moment, as a tree of values

Each package says in its `__init__` what it is, what it may import, and which invariant it keeps.

The seven files to read first:

    stream/serve.py              open listeners, serve, close
    stream/server.py             two nurseries: accept loops inside, connections outside
    listeners/accept_loop.py     accept, and its errors
    stream/connection_task.py    the life of one connection, from its accept to its close
    server/handler_run.py       the steps around one run of a handler
    registry/registry.py         what is served: counted before its task starts
    registry/drain_scope.py      stop accepting, end idle waits, wait, cancel the rest

They show structured concurrency in this order: a task belongs to a nursery, a task releases in `finally` what
it holds, a timeout is a cancel scope, a cancelled receive loses nothing, and state that tasks share is a
plain value that only synchronous code changes.
"""
