"""FrozenCLIP: an open_clip model that is loaded, checked and never changed."""

from typing import Any

import torch
from torch import Tensor, nn

from depthclip.encoder.interfaces import ImageFeatures, Needs
from depthclip.encoder.loading import MeanStd, load_clip
from depthclip.encoder.readouts import Readout, check_fit, readout_of
from depthclip.encoder.text import CLIPText
from depthclip.encoder.towers import tower_of

NOTHING = Needs()


class FrozenCLIP(nn.Module):
    """A frozen CLIP of open_clip's that reads images of any size densely and sentences in the same space.

    Parameters get no gradient, the model stays in eval mode whatever its parent does, and nothing changes its weights.

    Args:
        name: a model name of open_clip's (`RN50-quickgelu`, `ViT-B-16`, `ViT-B-16-SigLIP2`, ...), or `tiny-rooms`, the
            small model that ships with this package. Hub repositories and folders (`hf-hub:`, `local-dir:`) are not
            supported: pass the name of the architecture and the weights file.
        pretrained: a weight tag of open_clip's (downloaded by it), `bundled` for `tiny-rooms`, or a file: OpenAI's JIT
            archive, or `.pt`, `.bin`, `.safetensors` as open_clip saves them. null gives random weights, with a
            warning. A file other than OpenAI's archive does not say whether it was trained with QuickGELU: that `name`
            has the right activation cannot be checked. No file is unpickled; a TorchScript archive whose code would run
            while it is loaded is refused.
        readout: how the image tower is read densely: `released`, `attention_pool`, `maskclip`, `tokens`, `crops`, or a
            class of your own by class_path.
        normalization: of the RGB values: `tower` (what the weight tag was trained with), `openai`, `imagenet`, or
            ((mean R, G, B), (std R, G, B)) in [0, 1]. It must be given for a local file, which does not say.

    Raises:
        InputError: if the model, tag, file, readout or normalisation is unknown, they do not fit each other, or the
            weights are not finite.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None,
        readout: str | Readout = "attention_pool",
        normalization: str | MeanStd = "tower",
    ) -> None:
        super().__init__()
        self.name = name
        self.pretrained = pretrained
        self.readout = readout_of(readout)
        self.model: Any
        self.mean: Tensor
        self.std: Tensor
        self.model, tokenizer, (mean, std) = load_clip(name, pretrained, normalization)
        self.model.requires_grad_(False).eval()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.tower = tower_of(self.model.visual)
        check_fit(self.readout, self.tower)
        self.text = CLIPText(self.model, tokenizer)

    def train(self, mode: bool = True) -> "FrozenCLIP":
        """Stay in eval mode whatever the mode, so that batch statistics stay frozen too."""
        return super().train(False)

    def encode_image(self, rgb: Tensor, needs: Needs = NOTHING) -> ImageFeatures:
        """Return the dense features of images, and the pooled feature and intermediate maps that heads need.

        Images may have any height and width. Where these are not multiples of the tower's stride (32 for ResNets, the
        patch size for ViTs), the image is resized (bilinear, antialiased) to the nearest multiples, so that the patches
        cover all of it.

        Args:
            rgb: (B, 3, H, W) in [0, 1].
            needs: features to compute beside the dense ones.

        Raises:
            InputError: if the tower has no block that the needs name.
        """
        return self.readout(self.tower, (rgb - self.mean) / self.std, needs)
