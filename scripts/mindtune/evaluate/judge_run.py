"""Ask a judge for all that is missing, several requests at a time, within a budget. What came in is
in the store at once; what did not is asked again by the next run.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mindtune.cli import UserError
from mindtune.evaluate.judge_client import LONGEST_WAIT_S, Answer, Busy, Judge, Refused, Slow
from mindtune.evaluate.judge_cost import most_price, price
from mindtune.evaluate.judge_prompts import Messages
from mindtune.evaluate.judge_store import JudgeStore

ATTEMPTS = 3
# So many requests without an answer, one after another, and none in between: it is not there
SILENT = 5
FIRST_WAIT_S = 0.5
SHOW_EVERY = 100


class Asking:
    """One judge's run. `limits` are judge.concurrency, patience_s and budget, and in
    spent_elsewhere what other judges may have cost; `today` gives the date that answers get.
    """

    def __init__(
        self,
        judge: Judge,
        spec: Mapping[str, Any],
        store: JudgeStore,
        limits: Mapping[str, Any],
        today: Callable[[], str],
    ) -> None:
        self.judge, self.spec, self.store = judge, spec, store
        self.limits, self.today = limits, today
        self.done = 0
        self.heard = time.monotonic()  # when the server last answered
        self.unheard: list[tuple[str, float, str]] = []  # (key, price, failure) since then

    async def all(self, requests: Iterable[tuple[str, Messages]]) -> int:
        """Ask for every {key: messages} that is missing; return how many were asked."""
        waiting = iter(requests)
        taken: set[str] = set()

        async def work() -> None:
            for key, messages in waiting:
                if key not in self.store and key not in taken:
                    taken.add(key)
                    await self.one(key, messages)
                    taken.discard(key)

        tasks = [asyncio.create_task(work()) for _ in range(self.limits["concurrency"])]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self.unheard and not self.done:
            raise self.silent()
        self.keep_unheard()
        return self.done

    async def one(self, key: str, messages: Messages) -> None:
        """Ask until there is an answer, or a reason why there will be none."""
        most = most_price(self.spec, messages)
        wait, slow = FIRST_WAIT_S, 0
        while True:
            self.check_budget(most)
            self.store.asks(key, most)
            try:
                answer = await self.judge.ask(messages, key)
            except Slow:
                slow += 1
                if slow == ATTEMPTS:
                    return self.not_heard(key, most, "timeout")
            except Refused as refused:
                if self.store.places:
                    return self.keep(key, Answer("", "refused", 0, 0), most)
                return self.not_heard(key, most, "refused", str(refused))
            except Busy as busy:
                if busy.unpaid:
                    self.store.refused(key, most)
                self.check_patience(busy)
                await asyncio.sleep(min(LONGEST_WAIT_S, max(wait, busy.wait_s)))
                wait = min(LONGEST_WAIT_S, 2 * wait)
            else:
                return self.keep(key, answer, most)

    def check_budget(self, most: float) -> None:
        """Stop before a request that could pass the budget; requests on their way count in full."""
        budget = self.limits["budget"]
        spent = self.limits["spent_elsewhere"] + self.store.spent
        if budget is not None and spent + most > budget:
            raise UserError(
                f"judge.budget is {budget}, {spent:.4f} may be spent, and the next request could "
                f"cost {most:.4f}: stopped before it is passed, with {self.done} new answers kept; "
                "raise judge.budget or lower judge.max_items, then run again"
            )

    def check_patience(self, busy: Busy) -> None:
        """Stop if the server has answered nothing for longer than judge.patience_s."""
        since = time.monotonic() - self.heard
        if since > self.limits["patience_s"]:
            raise self.judge.stop(
                f"no answer for {since:.0f} s, longer than judge.patience_s (last: {busy}); "
                f"{self.done} new answers are kept",
                "wait until it is free, or lower judge.concurrency",
            )

    def keep(self, key: str, answer: Answer, most: float) -> None:
        """Keep an answer; the server is there."""
        self.heard = time.monotonic()
        self.keep_unheard()
        self.done += 1
        row = {
            "raw": answer.raw,
            "failure": answer.failure,
            "read": answer.read,
            "written": answer.written,
            "at": self.today(),
        }
        known = answer.failure or answer.read
        cost = price(self.spec, answer.read, answer.written) if known else most
        self.store.answered(key, row, cost, most)
        if self.done % SHOW_EVERY == 0:
            print(f"{self.done} answers, {self.store.spent:.4f} spent at most", flush=True)

    def not_heard(self, key: str, most: float, failure: str, said: str = "") -> None:
        """A request had no answer in time, or the server answered none so far."""
        self.unheard.append((key, most, failure))
        if len(self.unheard) >= SILENT:
            raise self.silent(said)

    def keep_unheard(self) -> None:
        """Requests without an answer, of a server that answers others: failures of their own."""
        for key, most, failure in self.unheard:
            row = {"raw": "", "failure": failure, "read": 0, "written": 0, "at": self.today()}
            self.store.answered(key, row, most if failure == "timeout" else 0.0, most)
        self.unheard = []

    def silent(self, said: str = "") -> UserError:
        """Why a server that answers nothing ends the run."""
        count = len(self.unheard)
        if said:
            return self.judge.stop(
                f"it refused the first {count} requests ({said})", "correct its settings"
            )
        return self.judge.stop(
            f"{count} requests had no answer within {self.judge.timeout_s} s, "
            f"{ATTEMPTS} times each, and no other came in between",
            "raise judge.timeout_s or look at the server",
        )
