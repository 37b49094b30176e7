"""Combine samples into batches in worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from depthclip.data.batches import Batch, Item, Unreadable
from depthclip.protocol import Scoring, View


@dataclass(frozen=True)
class Collate:
    """A function from samples to a batch, which can be pickled for worker processes that are spawned.

    Args:
        view: part of an image that the model sees.
        scoring: pixels that count.
        augmented: whether items are augmented; they are scored without the crop, since augmentation moves the pixels.
    """

    view: View
    scoring: Scoring
    augmented: bool = False

    def __call__(self, read: Sequence[Item | Unreadable]) -> Batch:
        """Return a batch of the items and the unreadable samples."""
        items = [item for item in read if isinstance(item, Item)]
        unreadable = [item for item in read if isinstance(item, Unreadable)]
        scoring = replace(self.scoring, crop=None) if self.augmented else self.scoring
        return Batch(items, unreadable, self.view, scoring)
