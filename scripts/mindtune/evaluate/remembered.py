"""Answers that are asked for once: kept in a store as they come in, from several threads."""

from collections.abc import Callable, Mapping
from threading import Lock
from typing import Any

from mindtune.evaluate.reply_store import ReplyStore


class NotKept(Exception):
    """An answer is not in the store, and nobody can be asked."""


class Remembered:
    """A store with somebody to ask. Without `ask`, what is not kept raises NotKept; after `stop`,
    too, so that conversations under way end when one of them failed.
    """

    def __init__(self, store: ReplyStore) -> None:
        self.store = store
        self.ask: Callable[..., Mapping[str, Any]] | None = None
        self.asked = 0
        self.lock = Lock()

    def __call__(self, key: str, *question: Any) -> Mapping[str, Any]:
        """The answer to a key; asked with `question` if it is not there."""
        with self.lock:
            found, ask = self.store.kept.get(key), self.ask
        if found is not None:
            return found
        if ask is None:
            raise NotKept(key)
        found = ask(*question)
        with self.lock:
            self.store.add(key, dict(found))
            self.asked += 1
        return found

    def stop(self) -> None:
        """Ask nobody from now on."""
        with self.lock:
            self.ask = None
