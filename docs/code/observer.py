"""An observer: one method, and the classes of events that it wants."""

from collections import Counter

from triosock import events


class Ends:
    wants = (events.ConnectionClosed,)

    def __init__(self):
        self.causes = Counter()

    def on_event(self, event):
        self.causes[str(event.cause)] += 1
