"""What the standard library's `socketserver` has, hook for hook; it reads like that module.

    base, servers, mixins, handlers    the classes
    writer, reply_order                the files of a stream handler
    deferred_tls                       handshakes in the request's own thread or process

May import: requests, waiting. Nothing here imports trio.

The invariant: the hooks are called as in the standard library: the same ones, in the same order and thread,
with exceptions to the same caller.
"""
