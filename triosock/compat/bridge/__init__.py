"""Where trio starts: the run that servers use from their threads, and their requests as it sees them.

    trio_thread, calls, trio_wait                     the run, calls into it, and waits in it
    supervisor, request_entry, deadline_task          requests as entries of the core's registry
    thread_interrupt, draining_socket, tcp_state      ending what a thread is blocked in
    lifecycle_events, addresses                       what observers are told
    port                                              what is handed down to the rooms below

May import: requests, waiting, stdlib, the facade, the core.

The invariant: sync code never runs in the trio thread, and trio never in the caller's.
"""
