"""How far a collect is, told on stderr."""

import sys
import time


class Told:
    """One line on stderr: traces, tokens, tokens/s, time left. Every 30 s where stderr is a file."""

    def __init__(self, total: int):
        self.total, self.done, self.made, self.drawn, self.finished = total, 0, 0, 0, 0
        self.start = self.told = time.monotonic()
        self.live = sys.stderr.isatty()

    def skip(self, traces: int) -> None:
        """Traces that were there already."""
        self.done += traces

    def tokens(self, count: int) -> None:
        """Tokens drawn just now."""
        self.drawn += count
        if time.monotonic() - self.told > (0.5 if self.live else 30):
            self._tell()

    def traces(self, count: int) -> None:
        """Traces finished just now."""
        self.done += count
        self.made += count
        self.finished = self.drawn

    def close(self) -> None:
        if self.made:
            self._tell(last=True)

    def _tell(self, last: bool = False) -> None:
        self.told = time.monotonic()
        rate = self.drawn / max(self.told - self.start, 1e-9)
        left = "time left unknown"
        if self.made and rate:
            expected = self.finished / self.made * (self.total - self.done) - (self.drawn - self.finished)
            left = f"about {max(0, expected) / rate / 60:.1f} min left"
        line = f"collect: {self.done:,} of {self.total:,} traces, {self.drawn:,} tokens, {rate:.0f} tokens/s"
        end = "\n" if last or not self.live else ""
        print(("\r" if self.live else "") + line + ("" if last else f", {left}"), end=end, file=sys.stderr, flush=True)
