"""Recording from a Lightning `Trainer`, whether the package is called `lightning` or `pytorch_lightning`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icshift.errors import RecordingError
from icshift.integrations.session import CUT_SHORT, Session

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


def _base() -> type:
    """The base class of callbacks: of the package that is imported, of both if both are, else of the installed one.

    Raises `RecordingError` where neither is installed.
    """
    loaded = [module for name in _PACKAGES if (module := sys.modules.get(name))]
    if loaded:
        return type("Callback", tuple(module.Callback for module in loaded), {})
    for name in _PACKAGES:
        if find_spec(name.split(".")[0]):
            base: type = import_module(name).Callback
            return base
    raise RecordingError("neither lightning nor pytorch_lightning is installed: pip install 'icshift[lightning]'")


if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
else:
    Callback = _base()


class RecorderCallback(Callback):
    """Records a `LightningModule` from the first training batch to the last, one window an epoch.

    ::

        from icshift.integrations.lightning import RecorderCallback

        recording = RecorderCallback("runs/a", probe=inputs)
        trainer = Trainer(max_epochs=10, callbacks=[recording])
        trainer.fit(module, loader)  # then: icshift report runs/a

    Takes the options of `icshift.Recorder`; with `window` steps decide on windows, not epochs. An epoch's validation
    is in its window, the sanity check and other uses of the trainer are not recorded. A second `fit` needs a new
    path: it raises `RunError`, unless `resume=True`, with which a training that was stopped goes on in its run
    (`trainer.fit(…, ckpt_path="last")`).

    The loss of every batch, what `training_step` returned beside it, and the metrics of every epoch that the module
    logged are kept too: `icshift.open(path).logged()`.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__()
        self._session = Session(path, options)
        self._epoch = 0
        self._at_epoch: dict[str, Any] = {}
        self._at_validation: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to record: the optimizers are there, and the sanity check is over."""
        self._session.start(pl_module, trainer.global_step)
        self._epoch = trainer.current_epoch

    def on_train_batch_end(self, trainer: Trainer, _: LightningModule, outputs: Any, *__: Any) -> None:
        """Keeps the loss of the batch, and other numbers that `training_step` returned."""
        returned = dict(outputs) if isinstance(outputs, Mapping) else {"loss": outputs}
        loss: Any = returned.get("loss")
        if hasattr(loss, "detach"):
            returned["loss"] = loss.detach() * trainer.accumulate_grad_batches  # Lightning has divided it by that.
        self._session.log(returned)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        """Notes the metrics from before the validation."""
        self._at_validation = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        """Keeps the metrics of the validation."""
        new = _changed(trainer, self._at_validation)
        self._session.log(new)
        self._at_epoch |= new

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Keeps the other metrics of the epoch."""
        self._session.log(_changed(trainer, self._at_epoch))

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Ends the window of the epoch before.

        `on_train_epoch_end` comes after the epoch's validation too, but before the hook of that name in the module,
        which may run the model. An epoch resumed in its middle does not start.
        """
        if trainer.current_epoch != self._epoch:
            self._epoch = trainer.current_epoch
            self._session.next_window()
        self._at_epoch = dict(trainer.callback_metrics)

    def on_train_end(self, *_: Any) -> None:
        """Ends the last window and the recording."""
        self._session.end()

    def on_exception(self, _: Trainer, __: LightningModule, exception: BaseException) -> None:
        """Ends the recording and keeps it, also at Ctrl+C."""
        self._session.end(exception)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Ends a recording that no other event ended."""
        self._session.end(CUT_SHORT)


def _changed(trainer: Trainer, before: Mapping[str, Any]) -> dict[str, Any]:
    """The trainer's metrics that are new since `before`: it goes on to name those of earlier epochs and validations."""
    return {name: value for name, value in trainer.callback_metrics.items() if value is not before.get(name)}
