"""FrozenCLIP: a frozen open_clip model with dense image features."""

from typing import Any

from depthclip.encoder.loading import MeanStd, check_clip, load_clip
from depthclip.encoder.readouts import Readout, check_fit, readout_for, readout_of
from depthclip.encoder.text import CLIPText
from depthclip.encoder.tower_encoder import TowerEncoder
from depthclip.encoder.towers import tower_of


class FrozenCLIP(TowerEncoder):
    """A frozen open_clip model that maps images of any size, patch by patch, and sentences to a joint space.

    No parameter has a gradient, and the model stays in eval mode when its parent is set to training mode.

    Args:
        name: the name of an open_clip model (`RN50-quickgelu`, `ViT-B-16`, `ViT-B-16-SigLIP2`, ...), or `tiny-rooms`,
            the small model that ships with this package. Hub repositories and folders (`hf-hub:`, `local-dir:`) are not
            supported: pass the name of the architecture and the weights file.
        pretrained: a weight tag of open_clip, which is downloaded; `bundled` or `lenses` for `tiny-rooms`; or a file:
            OpenAI's JIT archive, or `.pt`, `.bin` or `.safetensors` as saved by open_clip. null gives random weights,
            with a warning. Only OpenAI's archive is certain to use QuickGELU; for other files, `name` must be the model
            with the activation of the training. No file is unpickled, and a TorchScript archive that runs code while it
            is loaded is refused.
        readout: how the image tower is read densely: `released`, `attention_pool`, `maskclip`, `tokens`, `sclip`,
            `clearclip`, `naclip`, `crops`, `aggregate`, or a subclass of `Readout` by class_path. `auto` selects
            `attention_pool` for a ResNet, `maskclip` for a tower with an attention-pool head (SigLIP, PE, CoCa), and
            `tokens` otherwise. Towers whose patches cannot be read (Swin) have `crops` only.
        normalization: normalization of the RGB values: `tower` (that of the weight tag), `openai`, `imagenet`, or
            ((mean R, G, B), (std R, G, B)) in [0, 1]. Required for a local file, which does not record it.
        tokenizer: a folder with the files of the tokenizer, for models whose tokenizer comes from the Hugging Face hub
            (SigLIP, CLIPA, MetaCLIP 2, XLM-RoBERTa, NLLB, ...; needs transformers); null to find it in the cache or on
            the hub. NLLB marks the language of a sentence: `src_lang` in `tokenizer_config.json` selects it.
        compile: whether torch.compile compiles the image tower and the readout at the first image, which takes from
            seconds to minutes; it needs a C++ compiler (on a GPU, Triton). If it fails, a warning is shown and the
            model runs without it.

    Raises:
        InputError: if the model, tag, file, readout, normalization or tokenizer is unknown, they do not fit each other,
            or the weights are not finite. All but the content of the weights is checked before they are downloaded.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None,
        readout: str | Readout = "auto",
        normalization: str | MeanStd = "tower",
        tokenizer: str | None = None,
        compile: bool = False,
    ) -> None:
        chosen = None if readout == "auto" else readout_of(readout)
        tower = tower_of(check_clip(name, pretrained, normalization))  # without weights
        selected = chosen or readout_for(tower)
        check_fit(selected, tower)
        model: Any
        model, tokenize, (mean, std) = load_clip(name, pretrained, normalization, tokenizer)
        super().__init__(model, tower_of(model.visual), selected, mean, std, compile)
        self.name = name
        self.pretrained = pretrained
        self.text = CLIPText(self.model, tokenize)
