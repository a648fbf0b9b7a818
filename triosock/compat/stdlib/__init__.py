"""The classes of the standard library's `socketserver`, hook for hook, in the structure of that module.

    base, servers, mixins, handlers    the classes
    writer, reply_order                the files of a stream handler
    deferred_tls                       TLS handshakes in the request's own thread or process

May import: requests, waiting. Nothing here imports trio.

The invariant: the hooks are called as in the standard library: the same ones, in the same order and thread,
with exceptions to the same caller.
"""
