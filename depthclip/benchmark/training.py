"""Which part of learning prompts takes how much time, once the features of the images are cached?"""

from collections.abc import Callable

import torch
from torch import Tensor

from depthclip.benchmark.shares import percentage, scaled
from depthclip.benchmark.tables import Table, Value
from depthclip.benchmark.timing import Case
from depthclip.benchmark.workload import Workload, without_warnings
from depthclip.data.batches import Batch
from depthclip.encoder.interfaces import ImageFeatures
from depthclip.errors import InputError
from depthclip.head import Bins, DepthHead, LearnedContext
from depthclip.head.depth_head import compare
from depthclip.head.interfaces import prepare_once
from depthclip.losses import Loss, LossInput, SILog, loss_input

STEP, TEXT, HEAD, LOSS, OTHER = "the whole step", "text tower", "head", "loss", "other"
IMAGES = "image tower, without a cache"


def training(work: Workload, words: int, context: int) -> Table:
    """Return the time of each part of a training step of learned context, forward and backward.

    Args:
        work: the model and its images.
        words: number of distance words.
        context: number of learned vectors before each word.

    Raises:
        InputError: if a sentence is longer than the context of the text tower.
    """
    head, batch = learner(work, words, context), work.batches[0]
    timings = work.measure(training_cases(work, head, batch))
    whole = timings[STEP]
    parts = {name: timings[name] for name in (TEXT, HEAD, LOSS)}
    other = whole
    for part in parts.values():
        other = other.plus(part, -1)
    rows: dict[str, dict[str, Value]] = {
        name: {"ms/image": scaled(part.per_image, 1000), "share": percentage(part.ratio(whole))}
        for name, part in {**parts, OTHER: other, STEP: whole, IMAGES: timings[IMAGES]}.items()
    }
    title = (
        f"a training step, forward and backward, with cached features: {words} words with {context} learned vectors "
        f"each, batches of {len(batch.items)}"
    )
    return Table("training", title, ("ms/image", "share"), rows)


def learner(work: Workload, words: int, context: int) -> DepthHead:
    """Return a head with learned context on the device.

    Raises:
        InputError: if a sentence is longer than the context of the text tower.
    """
    names = [f"{k} cm" for k in range(1, words + 1)]
    template = f"{{context:{context}}} {{distance}}."
    head = DepthHead(LearnedContext(names, template), Bins(torch.linspace(0.5, 9.5, words).tolist()))
    try:
        with without_warnings():
            prepare_once(head, work.model.encoder.text)
    except InputError as error:
        raise InputError(f"--context {context}: {error}") from error
    return head.to(work.runtime.device)


def training_cases(work: Workload, head: DepthHead, batch: Batch) -> list[Case]:
    """Return the cases of a step, of its text tower, head and loss, and of the image tower that a cache saves."""
    model, loss = work.model, SILog()
    scale = model.encoder.text.logit_scale / head.temperature
    _, rgb = next(batch.by_size())
    images = batch.view.windows(rgb.shape[-2], rgb.shape[-1]).cut(rgb)

    @torch.no_grad()
    def encode() -> ImageFeatures:
        return model.encoder.encode_image(images, head.needs)

    def step() -> None:
        output = head(features, model.encoder.text)
        loss_of(batch, output.depth, loss).backward()

    def text() -> None:
        head.prompts(model.encoder.text).sum().backward()

    def head_alone() -> None:
        logits = compare(features.dense.float(), words.detach().requires_grad_()) * scale
        head.depth(logits, head.bins(model.encoder.text)).sum().backward()

    def loss_alone() -> None:
        loss_of(batch, coarse.detach().requires_grad_(), loss).backward()

    with work.runtime.context():
        features = encode()
        words, coarse = head.prompts(model.encoder.text), head(features, model.encoder.text).depth

    def case(name: str, run: Callable[[], object]) -> Case:
        def timed() -> None:
            with work.runtime.context():
                run()

        return Case(name, timed, len(images))

    return [case(STEP, step), case(TEXT, text), case(HEAD, head_alone), case(LOSS, loss_alone), case(IMAGES, encode)]


def loss_of(batch: Batch, depth: Tensor, loss: Loss) -> Tensor:
    """Return the loss of coarse depth (B, 1, h, w), upsampled and compared with the ground truth of each image."""
    items, rgb = next(batch.by_size())
    inputs: list[LossInput] = []
    for full, item in zip(batch.view.upsample(depth, (rgb.shape[-2], rgb.shape[-1])), items, strict=True):
        inputs.append(loss_input(batch.scoring.align(full, item.target, item.seen), None))
    return loss(inputs)
