"""Recording from the `Trainer` of Hugging Face Transformers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from icshift.errors import RecordingError
from icshift.integrations.session import CUT_SHORT, Session

try:
    from transformers import TrainerCallback
except ModuleNotFoundError as missing:
    raise RecordingError(f"{missing.name} is not installed: pip install 'icshift[transformers]'") from missing

if TYPE_CHECKING:
    from transformers import TrainerState, TrainingArguments


class RecorderCallback(TrainerCallback):
    """Records the model of a Transformers `Trainer` from the first step to the last, one window an epoch.

    ::

        from icshift.integrations.transformers import RecorderCallback

        recording = RecorderCallback("runs/a", probe=dict(input_ids=ids))
        trainer = Trainer(model, arguments, train_dataset=data, callbacks=[recording])
        trainer.train()  # then: icshift report runs/a

    Takes the options of `icshift.Recorder`; with `window` steps decide on windows, not epochs. An epoch's evaluation
    is in its window, one before the first step (`eval_on_start`) and those outside `train()` are not recorded. What the
    trainer logs, as `loss` and `eval_loss`, is kept too: `icshift.open(path).logged()`.

    With `resume=True` a training that was stopped goes on in its run (`trainer.train(resume_from_checkpoint=True)`).

    Transformers calls no callback after an exception. Where training may raise and the process goes on, call `close()`;
    dropping the callback or leaving the process does the same. Without, another `train()` of the same model goes on
    with the recording; after a training that ended it raises `RunError`. Before Transformers 5.3,
    `load_best_model_at_end` comes before the event of the end: the last probe then sees the best parameters.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        super().__init__()
        self._session = Session(path, options)

    def close(self) -> None:
        """Finishes the recording of a training that raised; does nothing after one that ended."""
        self._session.end(CUT_SHORT)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:
        """Begins to record, unless the model is evaluated before the first step."""
        if not args.eval_on_start:
            self._session.start(kwargs["model"], state.global_step)

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Ends the window of the epoch before, whose evaluation came after its end."""
        if self._session.recording:
            self._session.next_window()
        else:
            self._session.start(kwargs["model"], state.global_step)

    def on_log(self, *_: Any, logs: Mapping[str, float] | None = None, **__: Any) -> None:
        """Keeps what is logged, and ends with the closing log, after which the best parameters may be loaded."""
        self._session.log(logs or {})
        if "train_runtime" in (logs or {}):
            self._session.end()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Ends a recording that the closing log did not end."""
        self._session.end()
