"""Parent and worker processes: all processors, restarts without a lost request.

    policy      how long, how often, when replaced: values
    trampoline  the first code of a child: its sockets, and its parent's death
    process     one child: started, drained, waited for, killed
    receiver    messages of workers, by sd_notify(3)
    reports     many reports as one
    worker      one worker's life
    slot        the place of one worker: crashes, successors
    endpoints   what the parent opens, and never serves itself
    reaper      process 1 of a container reaps orphans
    handover    sockets and state for the next parent
    upgrade     a new parent takes over
    service     parent and workers, from the start of the first to the merged report
    metrics     many texts of Prometheus as one
    control     the control socket of the parent
    obey        what signals do
    serve       `serve_workers`: open, and serve
    program     the program of a worker given as module:function

The invariant of the whole: **nothing outlives its brackets, processes included.** What happens in the
worker's own process is in `triosock.notify` and in what `triosock.run` does: a worker is an ordinary server
that inherits its listeners.
"""

from .policy import Recycle as Recycle
from .policy import Supervision as Supervision
from .serve import serve_workers as serve_workers
from .service import RestartReport as RestartReport
from .service import Workers as Workers
from .service import WorkersFailed as WorkersFailed
from .service import WorkerStatus as WorkerStatus
from .upgrade import UpgradeFailed as UpgradeFailed
