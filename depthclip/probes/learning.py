"""Train a head on cached features of training images, by the ground truth of the patches."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from depthclip.checks import check_count, check_number
from depthclip.encoder.interfaces import Needs, TextEncoder
from depthclip.head.depth_head import DepthHead
from depthclip.head.interfaces import Head, prepare_once
from depthclip.head.learned_bins import LearnedBins
from depthclip.head.learned_words import LearnedWords
from depthclip.optimization import Optimization, check_not_diverged, parameter_groups
from depthclip.probes.training import TrainingBatch
from depthclip.protocol import Scoring

TEMPLATE = "{context:1} object {context:1} {distance}"  # 1o1d of Auty and Mikolajczyk (ICCV Workshops 2023)
UNCAPPED = 80.0  # metres, the range of learned bins of a protocol without a cap


def learn(
    head: Head,
    batches: Sequence[TrainingBatch],
    computed: Needs,
    text: TextEncoder,
    steps: int = 600,
    learning_rate: float = 0.01,
    weight_decay: float = 0.01,
) -> None:
    """Train a head with AdamW and one cycle of the learning rate, in place.

    The loss is the mean of |ln p - ln g| over the patches of a batch that have a ground truth g. The batches are
    shuffled in each epoch with torch's generator.

    Args:
        head: head with trainable parameters.
        batches: features of training images with ground truth.
        computed: needs for which the features were computed.
        text: the text tower.
        steps: number of steps, each on one batch.
        learning_rate: largest learning rate, greater than 0.
        weight_decay: decay of matrices, at least 0.

    Raises:
        InputError: if a number is out of its range, the head learns nothing, or the training diverges.
    """
    check_count("steps", steps)
    check_number("learning_rate", learning_rate, above=0, at_most=1e6)
    optimization = Optimization()
    optimizer = optimization.optimizer(parameter_groups(head, weight_decay), learning_rate)
    schedule = optimization.schedule(optimizer, learning_rate, steps)
    useful = [batch for batch in batches if batch.target.isfinite().any()]
    epochs = math.ceil(steps / len(useful))
    order = torch.cat([torch.randperm(len(useful)) for _ in range(epochs)])[:steps]
    head.train()
    for number in order.tolist():
        batch = useful[number]
        loss = log_error(head(batch.features.select(computed, head.needs), text).depth, batch.target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    head.eval()
    check_not_diverged(head, f"{steps} steps", learning_rate)


def log_error(depth: Tensor, target: Tensor) -> Tensor:
    """Return the mean of |ln p - ln g| over the patches with a ground truth.

    Args:
        depth: (B, 1, h, w) metres, positive.
        target: (B, 1, h, w) metres, NaN for a patch without ground truth.
    """
    known = target.isfinite()
    return (depth[known].log() - target[known].log()).abs().mean()


def learned_words(head: DepthHead, bins: Tensor, scoring: Scoring, text: TextEncoder) -> DepthHead:
    """Return a head with as many learned words and bins as another head has, before training.

    Args:
        head: head whose temperature and scale the new head takes.
        bins: (K,) metres, from which the learned bins start.
        scoring: protocol whose range of predictions, widened to the bins, limits the learned bins.
        text: the text tower.

    Raises:
        InputError: if the text tower cannot be run from token embeddings.
    """
    lowest, highest = scoring.limits
    values = bins.tolist()
    reach = min(lowest, values[0]), max(highest if math.isfinite(highest) else UNCAPPED, values[-1])
    learned = LearnedBins(values, *reach)
    words = LearnedWords(len(values), TEMPLATE)
    result = DepthHead(words, learned, head.temperature, head.logit_scale).to(bins.device)
    prepare_once(result, text)
    return result
