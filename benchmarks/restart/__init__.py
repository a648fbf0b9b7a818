"""Proof by experiment that a restart loses nothing: a real HAProxy, clients that never stop, restarts,
upgrades.

servers     the two handlers: HTTP with keep-alive on h11, and lines
services    a service under test: started, restarted, followed by a new parent
haproxy     the configuration, and the process
clients     ask again and again, and count what is not as it should be
__main__    one run, and its table
"""
