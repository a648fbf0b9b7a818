"""An experiment that shows that a restart loses no request: HAProxy, clients without a pause, restarts,
upgrades.

servers     the two handlers: HTTP with keep-alive on h11, and lines
services    a service under test: started, restarted, followed by a new parent
haproxy     the configuration, and the process
clients     send requests without a pause, and count wrong answers
__main__    one run, and its table
"""
