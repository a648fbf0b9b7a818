"""The bridge to trio: the trio run that serving threads use (the host), and requests as entries of the core's
registry.

    trio_thread, calls, trio_wait                     the trio run, calls into it, and waits in it
    supervisor, request_entry, deadline_task          requests as entries of the core's registry
    thread_interrupt, draining_socket, tcp_state      end a blocking call of a thread
    lifecycle_events, addresses                       events for observers
    port                                              the interface for the packages below

May import: requests, waiting, stdlib, the facade, the core.

The invariant: sync code of the program never runs in the trio thread, and trio never runs in the caller's
thread.
"""
