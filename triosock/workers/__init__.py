"""Parent and worker processes on one set of listeners, with restarts that lose no request.

    policy          the values: timeouts, limits of crashes, and when a worker is replaced
    trampoline      the first code of a child process: moves its sockets, and ties it to its parent
    process         one child process: start, drain, wait, kill
    receiver        receives the sd_notify(3) messages of workers
    reports         merges the drain reports of workers
    worker          one worker, from its start until it is reaped
    slot            the place of one worker: restarts it after a crash, and replaces it
    endpoints       the sockets that the parent opens, and workers inherit
    file_guard      a process that removes the socket files of a killed parent
    reaper          reaps orphans in process 1 of a container
    handover        the sockets and the state for the next parent
    upgrade         starts the next parent, and hands over to it
    values          the state of a worker, the result of a restart, and the failure of a service
    service         the parent and its workers, from the first start to the merged report
    control_client  sends a request to the control socket of one worker
    metrics         merges the Prometheus texts of workers
    events          merges the event streams of workers
    health          merges the readiness of workers
    control         the control socket of the parent
    signals         the actions of SIGHUP, SIGTTIN, SIGTTOU and SIGUSR2
    serve           `serve_workers`: opens the endpoints, and serves them
    program         the program of a worker that is given as module:function

The invariant of the package: **nothing outlives its brackets, processes included.** The worker's side is in
`triosock.notify` and `triosock.run`: a worker is an ordinary server that inherits its listeners.
"""

from .policy import Recycle as Recycle
from .policy import Supervision as Supervision
from .serve import serve_workers as serve_workers
from .service import Workers as Workers
from .upgrade import UpgradeFailed as UpgradeFailed
from .values import RestartReport as RestartReport
from .values import WorkersFailed as WorkersFailed
from .values import WorkerStatus as WorkerStatus
