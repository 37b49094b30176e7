"""Build the parts of `score` from its command line, and run it."""

import inspect
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from pytorch_lightning import Trainer

from depthclip.arguments import TOP_LEVEL, check_name, prepare
from depthclip.cli import check_data, quiet_libraries
from depthclip.data.module import DepthDataModule
from depthclip.errors import InputError
from depthclip.messages import sentence
from depthclip.parser_messages import parser_sentence
from depthclip.predictions import Predicted
from depthclip.recipe_files import load_yaml, read_text
from depthclip.recipe_option import MODE, PartOfRecipe
from depthclip.report import Report
from depthclip.runs import RunLogger
from depthclip.score import by_row, named
from depthclip.scorer import PredictionScorer
from depthclip.trust import check_untyped, trusting

OPTIONS = [name for name in inspect.signature(PredictionScorer).parameters if name != "predictions"]


class EvaluationOfRecipe(PartOfRecipe):
    """The option -c: of a recipe, only the data and the options of the evaluation are used."""

    def part(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return the data of a recipe, and the options of its model that concern the evaluation."""
        model = recipe.get("model") or {}
        if isinstance(model, str):
            model = load_yaml(read_text(model)) or {}
        kept = {name: value for name, value in model.items() if name in OPTIONS}
        return {**({"data": recipe["data"]} if "data" in recipe else {}), **({"model": kept} if kept else {})}


def run(options: Namespace, arguments: Sequence[str]) -> PredictionScorer:
    """Score the predictions of a command line, and write the results to the folder of the run.

    Args:
        options: options about the files, as `depthclip.score.score_options` returns them.
        arguments: options of the data and the evaluation.

    Raises:
        InputError: if an argument, a recipe or a file cannot be used.
    """
    check_name(options.name)
    given, trusted = prepare(arguments)
    parser = ArgumentParser(prog="python -m depthclip score", parser_mode=MODE, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("-c", "--config", action=EvaluationOfRecipe, help="recipe")
    parser.add_subclass_arguments(DepthDataModule, "data", required=True)
    parser.add_class_arguments(PredictionScorer, "model", skip={"predictions"}, instantiate=False)
    quiet_libraries()
    with trusting(trusted):
        try:
            config = parser.parse_args(given)
        except ArgumentError as error:
            names = {"": ["predictions", "scale", "covers", "suffix", "any_unit", *TOP_LEVEL], "model": OPTIONS}
            raise InputError(parser_sentence(error, {**names, "trainer": []}, given)) from error
        check_untyped(config)
        recipe = yaml.safe_load(parser.dump(config, skip_none=False, format="yaml"))
        predictions = predictions_of(options)
        check_data(config.data, "test")
        try:
            built = parser.instantiate(config)
            model = PredictionScorer([Predicted(**each) for each in predictions], **vars(built.model))
        except (ValueError, ArgumentError) as error:  # raised by a constructor, whose arguments are the user's
            raise InputError(sentence(error)) from error
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=RunLogger("runs", options.name),
        callbacks=[Report({"predictions": predictions, **recipe}, options.vector)],
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.test(model, datamodule=built.data, verbose=False)
    return model


def predictions_of(options: Namespace) -> list[dict[str, Any]]:
    """Return the arguments of `Predicted` for each row of a command line.

    Raises:
        InputError: if an option is not of its type, or names no row.
    """
    rows = named(options.predictions)
    scales, covers, suffixes = (
        by_row(f"--{o}", getattr(options, o), list(rows)) for o in ("scale", "covers", "suffix")
    )
    return [
        {
            "name": name,
            "folder": folder,
            "scale": number(scales[name]) if name in scales else None,
            "covers": covers.get(name),
            "suffix": suffixes.get(name),
            "any_unit": options.any_unit,
        }
        for name, folder in rows.items()
    ]


def number(text: str) -> float:
    """Return the number in a text.

    Raises:
        InputError: if it is none.
    """
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"--scale {text} must be a number of values per metre, such as 1000") from error
