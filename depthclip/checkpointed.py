"""CheckpointedModule: the checkpoints of a model, and models that are built from files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pytorch_lightning import LightningModule

from depthclip.checkpoint import (
    RECIPE,
    check_bins,
    check_recipe,
    check_state,
    fingerprint,
    learned_state,
    read_checkpoint,
    recipe,
    same_intervals,
    variants_of,
    without_intervals,
    without_variants,
)
from depthclip.encoder.encoder import Encoder
from depthclip.errors import InputError
from depthclip.from_file import build, build_recipe, check_fitted
from depthclip.head.interfaces import Head

Model = TypeVar("Model", bound="CheckpointedModule")


class CheckpointedModule(LightningModule):
    """Base class of the modules that learn on top of a frozen encoder.

    Attributes:
        encoder: the frozen encoder, which checkpoints do not hold.
        head: the head.
        settings: the arguments of the model as YAML has them, for checkpoints; empty for a model built in Python.
        data_settings: those of the data module.
    """

    encoder: Encoder
    head: Head
    settings: dict[str, Any]
    data_settings: dict[str, Any]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # nn.Module overloads it
        """Return what was learned or fitted; never CLIP's weights."""
        return learned_state(super().state_dict(*args, **kwargs))

    def recipe(self) -> dict[str, Any]:
        """Return the recipe that a checkpoint of this model keeps."""
        weights = fingerprint(self.encoder.weights)
        return recipe(self.settings, self.encoder.name, weights, len(self.head.labels), self.data_settings)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the recipe."""
        checkpoint[RECIPE] = self.recipe()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Raise unless the checkpoint was learned with this CLIP and fits the head.

        The state of variants is left out unless they are those of the training; they are only scored beside the head.
        So is that of intervals unless their settings are those of the training; they can be calibrated again.

        Raises:
            InputError: naming what differs.
        """
        if RECIPE not in checkpoint:
            raise InputError("the checkpoint has no recipe of depthclip's; pass one that depthclip fit wrote")
        mine = self.recipe()
        check_recipe(checkpoint[RECIPE], mine["clip"], mine["weights"])
        expected, state = self.state_dict(), checkpoint["state_dict"]
        if variants_of(checkpoint[RECIPE]["settings"]) != variants_of(self.settings):
            expected, state = without_variants(expected), without_variants(state)
        check_bins(checkpoint[RECIPE]["bins"], mine["bins"], state, expected)
        if not same_intervals(state, expected):
            expected, state = without_intervals(expected), without_intervals(state)
        check_state(state, expected)
        checkpoint["state_dict"] = state

    def load_learned(self: Model, path: str | Path) -> Model:
        """Load what was learned from a checkpoint into this model, which may have been built in Python.

        Args:
            path: a file that `fit` or `Trainer.save_checkpoint` wrote.

        Returns:
            The model itself.

        Raises:
            InputError: if the file is no checkpoint, or another CLIP or head was trained.
        """
        checkpoint = read_checkpoint(path)
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"], strict=False)
        return self

    @classmethod
    def load(cls: type[Model], path: str | Path, allow: Sequence[str] = ()) -> Model:
        """Return the model that a checkpoint describes, with what was learned, in evaluation mode.

        Args:
            path: a file that `fit` wrote.
            allow: modules, beside this package, whose classes the recipe in the file may name. To import a module is
                to run its code.

        Raises:
            InputError: if the file is no such checkpoint, names other classes, or has settings that do not fit.
        """
        settings = {**read_checkpoint(path)[RECIPE]["settings"]}
        if settings:
            settings["cache"] = None  # a file must not decide where features are written
        model: Model = build(cls, settings, path, allow)
        model.settings = settings
        return model.load_learned(path).eval()

    @classmethod
    def from_recipe(
        cls: type[Model],
        recipe: str | Path,
        overrides: Mapping[str, Any] | None = None,
        checkpoint: str | Path | None = None,
        allow: Sequence[str] = (),
    ) -> Model:
        """Return the model of a recipe in evaluation mode, without data and without a Trainer.

        Args:
            recipe: a YAML file, or the name of a recipe of the package, such as `rooms` or `model/rn50`.
            overrides: settings that replace those of the recipe, as the options of the command line do, such as
                `{"model.head.temperature": 0.2}`.
            checkpoint: a file that `fit` wrote, to load what was learned; None for the parameters before training.
            allow: modules, beside this package, whose classes the recipe may name. To import a module is to run its
                code.

        Raises:
            InputError: if the recipe or the checkpoint cannot be used, names other classes, or has settings that do not
                fit, or a head must be fitted to training data and there is no checkpoint.
        """
        model, settings = build_recipe(cls, str(recipe), overrides or {}, allow)
        model.settings = settings
        if checkpoint is not None:
            model.load_learned(checkpoint)
        check_fitted(model, recipe)
        return model.eval()
