"""Score a model from Python in one call."""

from pathlib import Path
from typing import Literal

from pytorch_lightning import Trainer

from depthclip.checks import check_choice
from depthclip.data.module import DepthDataModule
from depthclip.fitting import checkpoint_callbacks
from depthclip.module import DepthCLIP
from depthclip.report import Report


def evaluate(
    model: DepthCLIP,
    data: DepthDataModule,
    folder: str | Path,
    split: Literal["test", "val"] = "test",
    ckpt_path: str | Path | None = None,
    accelerator: str = "auto",
) -> dict[str, dict[str, float]]:
    """Score a model on one device: print the table and write the files of the report.

    `folder` gets metrics.json, errors.npz and, for the test split, the pictures. The view and the scoring are those of
    `data`. Training in the same script is `Trainer(callbacks=[*checkpoint_callbacks(), Report()]).fit(model, data)`.

    Args:
        model: as built or trained; its parameters stay as they are unless ckpt_path is given.
        data: images and ground truth in metres.
        folder: created if it does not exist; earlier files of these names are replaced.
        split: `test`, with baselines and pictures, or `val`.
        ckpt_path: a checkpoint of `fit` to load first.
        accelerator: of the trainer: `auto`, `cpu`, `gpu` ...

    Returns:
        The mean errors over images by row (the head, variants, baselines) and error: abs_rel, sq_rel (metres), rmse
        (metres), rmse_log, log10, silog, delta1, delta2, delta3 (shares in [0, 1]), and the model's further measures.

    Raises:
        InputError: if split is unknown, or the data or the checkpoint cannot be used.
    """
    check_choice("split", split, ("test", "val"))
    trainer = Trainer(
        accelerator=accelerator,
        devices=1,
        logger=False,
        callbacks=[*checkpoint_callbacks(), Report()],  # a checkpoint has states of the former
        default_root_dir=folder,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    run = trainer.test if split == "test" else trainer.validate
    run(model, datamodule=data, ckpt_path=ckpt_path, verbose=False, weights_only=True)
    return model.outcome.result.figures()
