"""Records a run to step through: `with Recorder() as r:` around any trio program, then
`r.write_html("run.html")`.

model            the recorded values: happenings, and the state that they lead to
ring             keeps the last happenings, in bounded memory
keeper           the ring, the numbers and the clock that the instruments of a recorder share
stacks           the place of a task, and a description of its wait
endings          texts for cancellations and ends of tasks
instrument       observes one trio run
words            texts for server events
trio_internals   the only file of the recorder that uses private API of trio
recorder         the `Recorder`
sources          the source lines on a page
packing          the recorded values as JSON
page             one HTML file; state.js computes the states, view.js shows them
"""

from .recorder import Recorder as Recorder
from .recorder import Step as Step

__all__ = ["Recorder", "Step"]
