"""Bins that depend on the scene that CLIP recognizes in the image."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from depthclip.checks import brief, check_choice
from depthclip.encoder.interfaces import TextEncoder
from depthclip.errors import InputError
from depthclip.head.bins import Bins
from depthclip.head.interfaces import prepare_once, unprepared
from depthclip.head.prompts import check_text, encode_groups, texts_of
from depthclip.head.word_order import check_distinct

SCENE_TEMPLATE = "a photo of a {scene}."


class SceneBins(Bins):
    """Bins for each scene, selected by CLIP: the future work of DepthCLIP (arXiv 2207.01077).

    For the pooled feature f of the image, the text features s_j of the scenes and their bins b_j:

        p = softmax(exp(logit_scale) * <f, s_j>),    bins = sum_j p_j b_j,  or b_j of the largest p_j

    With `LearnedBins` for every scene this is a depth codebook; with the paper's class-dependent sets it is the
    paper's study of bins.

    Args:
        scenes: bins by name of the scene, all with the same K. The names fill the templates (`living_room` as "living
            room"). Bins that are fitted to training depths need the names that the data set gives to its scenes.
        templates: sentences with `{scene}`.
        choice: `soft` for the mean over scenes, weighted by their probability; `hard` for the bins of the most probable
            scene.

    Raises:
        InputError: if there are fewer than two scenes, their bins differ in number or depend on the image, or a
            template has no `{scene}`.
    """

    needs_pooled = True
    features: Tensor | None  # (S, D), text features of the scenes

    def __init__(
        self,
        scenes: dict[str, Bins],
        templates: Sequence[str] = (SCENE_TEMPLATE,),
        choice: Literal["soft", "hard"] = "soft",
    ) -> None:
        check_choice("choice", choice, ("soft", "hard"))
        counts = {name: bins.count for name, bins in scenes.items()}
        if len(scenes) < 2 or len(set(counts.values())) > 1:
            raise InputError(f"scenes {brief(counts)} must be at least two, each with the same number of bins")
        if dependent := [name for name, bins in scenes.items() if bins.needs_pooled]:
            raise InputError(
                f"the bins of {', '.join(dependent)} depend on the image; use fixed, fitted or learned bins for scenes"
            )
        for name in scenes:
            check_text("scenes", name)
        if not all("{scene}" in template for template in texts_of("templates", templates)):
            raise InputError(f"templates {brief(list(templates))} must each have {{scene}}")
        super().__init__(next(iter(scenes.values())).values.tolist())
        self.names = tuple(scenes)
        self.scenes = nn.ModuleList(scenes.values())
        self.templates = tuple(templates)
        self.choice = choice
        self.seen: set[str] = set()
        self.register_buffer("features", None, persistent=False)

    @property
    def each(self) -> list[Bins]:
        """The bins of the scenes, in the order of `names`."""
        return [bins for bins in self.scenes if isinstance(bins, Bins)]

    @property
    def needs_depths(self) -> bool:
        """Whether the bins of a scene must be fitted to training depths."""
        return any(bins.needs_depths for bins in self.each)

    def prepare(self, text: TextEncoder) -> None:
        """Encode the sentences of the scenes and prepare their bins.

        Raises:
            InputError: if a sentence is longer than the tower's context, or two scenes have the same feature.
        """
        for bins in self.each:
            prepare_once(bins, text)
        names = [name.replace("_", " ") for name in self.names]
        features = encode_groups(text, [[t.replace("{scene}", n) for t in self.templates] for n in names])
        check_distinct("scenes", names, features, f"templates {brief(list(self.templates))}")
        self.features = features

    def update(self, depth: Tensor, scene: str) -> None:
        """Add the depth map of one training image to the statistics of the bins of its scene."""
        self.seen.add(scene)
        if scene in self.names:
            self.each[self.names.index(scene)].update(depth, scene)

    def compute(self) -> None:
        """Fit the bins of each scene to the depth maps of that scene.

        Raises:
            InputError: if a scene whose bins must be fitted has no depth map.
        """
        unfitted = {name: bins for name, bins in zip(self.names, self.each, strict=True) if bins.needs_depths}
        if missing := [name for name in unfitted if name not in self.seen]:
            raise InputError(
                f"no training image shows {', '.join(missing)}, whose bins must be fitted; use scenes of the training "
                f"set: {', '.join(sorted(self.seen))}"
            )
        for bins in unfitted.values():
            bins.compute()

    def forward(self, text: TextEncoder, pooled: Tensor | None = None) -> Tensor:
        """Return the depths in metres for each image, (B, K), from pooled features (B, D)."""
        if self.features is None:
            raise unprepared(self)
        assert pooled is not None
        values = torch.stack([bins(text) for bins in self.each])  # (S, K)
        with torch.autocast(pooled.device.type, enabled=False):
            logits = text.logit_scale * pooled.float() @ self.features.float().mT  # (B, S)
            return values[logits.argmax(-1)] if self.choice == "hard" else logits.softmax(-1) @ values
