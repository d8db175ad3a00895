"""How long a run may take. A quick one has ten minutes: each part an allotment, each of its rows
a share of what is left of that, and no program longer than the ten minutes. A full run takes what it needs."""

import math
import time

from machine import NotHere

# Seconds of a quick run. The rest of the ten minutes is for what cannot be cut short: making tables, opening
# connections, three rounds of everything.
PARTS = {"openvswitch": 95, "hashes": 30, "first_packets": 10, "lookups": 125, "updates": 30, "memory": 30, "io": 115}
LIMIT = 590
# A median of fewer rounds says nothing.
LEAST = 3


class Allotted:
    """The time of one run, or none to speak of."""

    def __init__(self, is_quick: bool, now=time.monotonic):
        self.now, self.is_quick = now, is_quick
        self.limit = now() + LIMIT if is_quick else math.inf
        self.end, self.rows = math.inf, 1
        self.cut = []

    def part(self, name: str, rows: int = 1):
        """A part with so many rows begins."""
        self.rows = rows
        self.end = self.now() + PARTS[name] if self.is_quick else math.inf

    def left(self) -> float:
        """Seconds until the run must be over; fails if it is."""
        left = self.limit - self.now()
        if left <= 0:
            raise NotHere("the ten minutes of a quick run are over")
        return left

    def rounds(self, row: str, most: int):
        """Numbers of the rounds of one more row: `most`, or fewer if its share of the time is up before."""
        until = self.now() + (self.end - self.now()) / max(self.rows, 1)
        self.rows -= 1
        for number in range(most):
            if number >= LEAST and self.now() > until:
                self.cut.append(f"{row}: {number} rounds of {most}, for its time was up")
                return
            self.left()
            yield number
