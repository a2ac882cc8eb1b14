"""What the first card does, twice a second."""

import shutil
import subprocess
import threading
import time
from contextlib import suppress

SAMPLE_MS = 500


class CardSampler:
    """Use of the first card in percent, memory in MiB and power in watts twice a second; nothing
    where there is no card.
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, int, int, float]] = []
        self.child = None
        if shutil.which("nvidia-smi"):
            query = [
                "--query-gpu=utilization.gpu,memory.used,power.draw",
                "--format=csv,noheader,nounits",
                "--id=0",
            ]
            self.child = subprocess.Popen(
                ["nvidia-smi", *query, f"--loop-ms={SAMPLE_MS}"], stdout=subprocess.PIPE, text=True
            )
            threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        """Append a sample for each line until the child is ended."""
        for line in self.child.stdout:
            with suppress(ValueError):
                use, memory, watts = line.split(",")
                self.samples.append((time.time(), int(use), int(memory), float(watts)))

    def stop(self) -> None:
        """End the child."""
        if self.child:
            self.child.terminate()
            self.child.wait()

    def between(self, start: float, end: float) -> dict[str, float]:
        """Share of the time in which the card computed, and the mean power; empty without a
        card.
        """
        found = [sample for sample in self.samples if start <= sample[0] < end]
        if not found:
            return {}
        return {
            "computing": round(sum(use > 0 for _, use, _, _ in found) / len(found), 3),
            "mean_use": round(sum(use for _, use, _, _ in found) / len(found) / 100, 3),
            "watts": round(sum(watts for *_, watts in found) / len(found)),
        }

    def idle_stretches(self, start: float, end: float) -> list[tuple[float, float]]:
        """(start, end) of the times in which the card did not compute, the longest first."""
        stretches, since = [], None
        for at, use, _, _ in [*(s for s in self.samples if start <= s[0] < end), (end, 1, 0, 0.0)]:
            if use == 0:
                since = since or at
            elif since:
                stretches.append((since, at))
                since = None
        return sorted(stretches, key=lambda stretch: stretch[0] - stretch[1])
