"""The wait of an idle `serve_forever()`, without trio.

    poll       the wait of one loop, which `wake()` ends; the running loops of this process
    own_loop   a program's own loop over `handle_request()`, in a trio program
    forking    the wait of a forking server, which the end of a child ends too
    wakeup     descriptors that any thread can make readable

May import: requests. Nothing here imports trio.

The invariant: a process that the standard library would leave with one thread has one thread.
"""
