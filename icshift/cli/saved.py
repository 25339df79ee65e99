"""Options of the commands that take saved models and data, and the one way in which these are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from icshift.errors import ModelError

if TYPE_CHECKING:
    from icshift.inputs.data import Data, Reading
    from icshift.inputs.specs import Network
    from icshift.saved.load import Wanted
    from icshift.saved.order import SavedModel
    from icshift.saved.snapshots import Snapshot
    from icshift.saved.trajectory import Trajectory

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
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="NAME",
        help="The column of a table that is no input; by default target, label, y or class; none keeps all.",
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
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="NAME",
        help="Which part of the file is the model, as state_dict_ema or generator; by default the usual one.",
        show_default=False,
    ),
]
Partial = Annotated[
    bool, typer.Option("--partial", help="Also where parts of the model are not in the file: they stay as initialised.")
]
UnsafePickle = Annotated[
    bool, typer.Option("--unsafe-pickle", help="Run the code that a pickled file asks for; only for files you trust.")
]


@dataclass(frozen=True)
class Loading:
    """The values of the options above.

    `model` and `arguments` say how the model is made; `batch_size`, `limit`, `device` and `dtype` how data are read;
    `wanted` how saved models are loaded.
    """

    model: str | None
    arguments: list[str] | None
    batch_size: int
    limit: int | None
    device: str
    dtype: str | None
    wanted: Wanted


@dataclass(frozen=True, eq=False)
class Opened:
    """A model, and the saved models that were found, each of which is still to be read and checked.

    `reading` says how data for the model are read: on its device, in its precision.
    """

    model: Network
    found: Sequence[SavedModel]
    reading: Reading
    wanted: Wanted

    def data(self, spec: str, target: str | None = None) -> tuple[Data, list[str]]:
        """Returns the data that a `--data` option names, and which columns of a table were left out as targets.

        Raises `ModelError` if they are no inputs for this model.
        """
        from icshift.inputs.data import as_data
        from icshift.inputs.targets import without_targets

        values, left_out = without_targets(spec, target, self.reading.limit)
        return as_data(values, self.model, self.reading, spec), left_out

    def trajectory(self, after: Callable[[], object] = lambda: None) -> Trajectory:
        """The saved models in training order, copies and what is no model left aside, and what is to be told of them.

        `after` is called after each is read. Raises `ModelError` for the first that does not fit, so that nothing is
        measured before it is known that all of them do.
        """
        from icshift.saved.trajectory import trajectory

        return trajectory(self.found, self.model, self.wanted, after)

    def snapshots(self, models: Sequence[SavedModel]) -> list[Snapshot]:
        """Saved models that can be put into the model one after the other."""
        from icshift.saved.snapshots import snapshots

        return snapshots(models, self.model, self.wanted)


@contextmanager
def opened(saved_models: Sequence[SavedModel], loading: Loading) -> Iterator[Opened]:
    """Yields the model that the saved models are of, on the device and in the precision asked for.

    It is the one that `--model` names, else the one that the first of them holds. A model that existed already belongs
    to somebody else: after the block its weights, device and modes are what they were. Raises `ModelError` where no
    model can be made, and where it does not go to that device or precision.
    """
    from icshift.inputs.data import Reading, place
    from icshift.saved.snapshots import same_draws

    with same_draws():
        model = _built(saved_models[0], loading)
    reading = Reading(loading.batch_size, loading.limit, loading.device, loading.dtype)
    with _as_it_was(model, loading.model):
        place(model, reading)
        yield Opened(model, saved_models, reading, loading.wanted)


def _built(saved_model: SavedModel, loading: Loading) -> Network:
    from icshift.inputs import specs
    from icshift.saved.load import build

    if loading.model is not None:
        return specs.build_model(loading.model, specs.model_arguments(loading.arguments or ()))
    if loading.arguments:
        raise ModelError("--model-arg is for what --model names: give --model too")
    return build(saved_model, loading.wanted)


def _as_it_was(model: Network, spec: str | None) -> AbstractContextManager[None]:
    """Restores the model after the block if the spec names the model itself, and not what makes one."""
    from icshift.inputs.specs import resolve
    from icshift.model.undisturbed import lent

    return lent(model) if spec is not None and resolve(spec) is model else nullcontext()
