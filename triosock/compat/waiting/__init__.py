"""How an idle `serve_forever()` waits, without trio.

    poll       the wait of one loop, which `wake()` ends; the running loops of this process
    forking    the same for a forking server: the ends of its children wake it
    wakeup     descriptors that any thread can make readable

May import: requests. Nothing here imports trio.

The invariant: a process that the standard library would leave with one thread has one thread.
"""
