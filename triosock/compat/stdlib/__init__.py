"""What the standard library's `socketserver` has, hook for hook; it reads like that module.

    base, servers, mixins, handlers    the classes
    writer, reply_order                the files of a stream handler
    deferred_tls                       handshakes in the request's own thread or process

May import: requests, waiting. Nothing here imports trio.

The invariant: which hook is called, in which order, in which thread, and who sees its exception are the
standard library's.
"""
