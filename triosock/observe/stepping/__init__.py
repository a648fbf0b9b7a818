"""Record a run, to step through it: `with Recorder() as r:` around anything, then `r.write_html("run.html")`.

model            what is kept: happenings, and the state that they lead to
ring             the last of them, in bounded memory     keeper    what the runs of one recorder share
stacks           where a task is, and what it waits for  endings   why it was cancelled, and how it ended
instrument       watches one trio run                    words     texts of server events
trio_internals   the only file that reaches into trio
recorder         the context manager around a run
sources          the lines of the files                  packing   what is kept, as JSON
page             one HTML file; state.js computes the states, view.js shows them
"""

from .recorder import Recorder as Recorder
from .recorder import Step as Step

__all__ = ["Recorder", "Step"]
