"""Options of the commands that take saved models and data, and what they make of them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.errors import ModelError

if TYPE_CHECKING:
    from icshift.inputs.data import Data
    from icshift.inputs.specs import Network
    from icshift.saved.find import SavedModel

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="SPEC",
        help="Its class, or what makes it: package.module:Net or path/net.py:Net. Not needed where the file tells.",
        show_default=False,
    ),
]
ModelArguments = Annotated[
    list[str] | None,
    typer.Option(
        "--model-arg",
        metavar="NAME=VALUE",
        help="An argument of SPEC, a number or text; may be repeated.",
        show_default=False,
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Examples a forward, at most.")]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Take at most so many examples of each data set.", show_default=False),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, …")]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="float64, bfloat16, …, for model and data; by default the model's own.", show_default=False
    ),
]
Partial = Annotated[bool, typer.Option("--partial", help="Load what fits the model and leave the rest as it is.")]
UnsafePickle = Annotated[
    bool, typer.Option("--unsafe-pickle", help="Run the code that a pickled file asks for; only for files you trust.")
]


def build(
    model: str | None, arguments: list[str] | None, found: SavedModel, *, partial: bool = False, unsafe: bool = False
) -> Network:
    """The model that `--model` names; without it the one in the saved file, where that tells."""
    from icshift.inputs import specs
    from icshift.saved.load import build as build_saved

    if model is not None:
        return specs.build_model(model, specs.model_arguments(arguments or ()))
    if arguments:
        raise ModelError("--model-arg is for what --model names: give --model too")
    return build_saved(found, unsafe=unsafe, partial=partial)


def as_it_was(built: Network, spec: str | None) -> AbstractContextManager[None]:
    """Puts a model back that the spec names itself, and not what makes it: that is somebody else's."""
    from icshift.inputs.specs import resolve
    from icshift.model.undisturbed import lent

    return lent(built) if spec is not None and resolve(spec) is built else nullcontext()


def read_data(spec: str, model: Network, batch_size: int, limit: int | None, device: str, dtype: str | None) -> Data:
    """Data for the model, which is put on the same device and, where `--dtype` is given, into the same precision."""
    from icshift.inputs.data import Reading, place, read_data

    reading = Reading(batch_size, limit, device, dtype)
    place(model, reading)
    return read_data(spec, model, reading)


def this_process() -> tuple[int, int]:
    """Rank and number of processes, as torchrun says."""
    from icshift.model import processes as ranks

    return ranks.this_process()
