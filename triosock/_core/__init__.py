"""The library itself, in nine packages. Each imports only from those above it, and has no circle inside.

    model        the values: errors, addresses, configuration, events, peer credentials
    protocols    what bytes mean: framing, PROXY headers; no I/O
    registry     who is being served, until when, and what a drain does about it
    transport    what carries bytes: sockets, any stream of trio's, TLS over either
    listeners    where connections come from: opening, inheriting, socket files, the accept loop
    server       what all servers share: their life, and one run of a handler
    stream       connections: what a handler is given, the task that serves it, the server, serve_tcp
    datagram     datagrams: sockets, the receive queue, dispatch, sessions, the server, serve_udp
    inspect      what lives at this moment, as a tree of values

Each package says in its `__init__` what it is, what it may import, and which invariant it keeps.

Read these seven files if you read nothing else:

    stream/serve.py              a server begins, and is sure to end
    stream/server.py             two nurseries: accept loops inside, connections outside
    listeners/accept_loop.py     accept, and every way in which it fails
    stream/connection_task.py    the life of one connection, from its accept to its close
    server/handler_run.py       what happens around one run of a handler, however it ends
    registry/registry.py         who is being served: counted before its task starts
    registry/drain_scope.py      stop accepting, tell, end what is idle, wait, cancel the rest

They show structured concurrency in the order in which it comes up: a task belongs to a nursery, what a task
holds it gives back in `finally`, a timeout is a scope, a cancelled receive loses nothing, and what one must
know of all tasks together is a plain value that only synchronous code changes.
"""
