"""Texts laid together by length, so that a model computes little on what fills a batch up."""

from collections.abc import Iterator, Sequence


def by_length(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Places of texts, shortest first: a batch's number of texts times its longest is `most` tokens
    or fewer, but a longer text stands alone. Equal lengths keep their order.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: (lengths[place], place)):
        if batch and (len(batch) + 1) * lengths[place] > most:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
