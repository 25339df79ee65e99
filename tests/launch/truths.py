"""Trainings of many styles, each a script of `styles/`, run plainly, under `icshift run`, and under an oracle."""

from __future__ import annotations

import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np

import icshift
from tests.covering import often
from tests.launch.launching import FOLDER, RECORDER, ended, start
from tests.warm.starting import python

STYLES = FOLDER / "styles"
ORACLE = FOLDER.parent / "oracles" / "trainings.py"

TRAINERS = (
    "transformers.trainer",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.bert.modeling_bert",
    "lightning",
    "accelerate",
    "ignite.engine",
    "ignite.metrics",
    "skorch",
)
"""Packages that take seconds to import: one process imports them for all scripts that need any."""

RECORDING = (
    "icshift.cli.run",
    "icshift.cli.output",
    "icshift.launch.children",
    "icshift.launch.launcher",
    "icshift.launch.script",
    "icshift.reports.run",
    "icshift.runs.reader",
)
"""What `icshift run` imports, in a third of a second: a process imports it for all scripts that are recorded."""

Values = tuple[np.ndarray, np.ndarray]
"""Activations [n, units]; of each the forward, the steps before it, the epoch, whether the next has begun [n, 4]."""


@dataclass(frozen=True)
class Declared:
    """What is true of a run of other processes, in which the oracle does not run; its author knows it."""

    kind: str
    sites: int
    windows: tuple[tuple[int, int], ...]
    rows: int
    """A window, of all processes together."""


@dataclass(frozen=True)
class Style:
    """A script, and what its author knows of it.

    `models` are the names of the variables that hold the models, after the class of each (`Net`, or `Net-2` for the
    second that an optimizer steps); where a model goes by several names, either will do. `epoch` is the script's own
    counter of epochs, None where there is none; `epochs` is false where nothing but that counter tells of them. A
    script `writes` into the folder that is its first argument. Where models are `copies`, made in turn, all that are
    trained of a class are one; `average` is the part of a model that is an average of another part, and left out.
    `declared` are the runs of other processes, by their names.
    """

    name: str
    models: dict[str, str | tuple[str, ...]]
    epoch: str | None = "epoch"
    epochs: bool = True
    options: tuple[str, ...] = ()
    code: int = 0
    needs: str = ""
    writes: bool = False
    copies: bool = False
    average: str = ""
    declared: dict[str, Declared] = field(default_factory=dict)

    @property
    def missing(self) -> bool:
        """Whether the package that the script needs is not installed."""
        return bool(self.needs) and find_spec(self.needs) is None

    def packages(self, way: str) -> tuple[str, ...]:
        """What the process that forks has imported before: one where trainers are needed, for they take seconds."""
        if self.needs and self.needs != "keras":
            return (*(p for p in TRAINERS if find_spec(p.split(".")[0])), *RECORDING)
        return RECORDING if way == "recorded" else ()


STYLES_BY_NAME = {
    style.name: style
    for style in (
        Style("mingpt", {"GPT": "model"}, epoch=None),
        Style("nanogpt", {"GPT": "model"}, epoch=None),
        Style("makemore", {"MLP": "model"}, epoch=None),
        Style("mnist", {"Net": "model"}),
        Style("imagenet", {"ResNet": "model"}, writes=True),
        Style("dcgan", {"Generator": "netG", "Discriminator": "netD"}),
        Style("vae", {"VAE": "model"}),
        Style("word_language_model", {"RNNModel": "model"}, epochs=False, options=("--forwards",)),
        Style("reinforce", {"Policy": "policy"}, epoch=None),
        Style("timm_train", {"ClassificationTask": "task"}, writes=True),
        Style("lightning_template", {"LitModule": "model"}, epoch="trainer.current_epoch", needs="lightning"),
        Style("fabric_loop", {"Net": "model"}, needs="lightning"),
        Style("accelerate_no_trainer", {"BertForSequenceClassification": "model"}, needs="accelerate"),
        Style("ignite_evaluators", {"Net": "model"}, epoch="trainer.state.epoch", needs="ignite"),
        Style(
            "skorch_classifier", {"MyModule": ("net", "module_", "module")}, epoch="len(net.history)", needs="skorch"
        ),
        Style("ppo", {"Agent": "agent"}, epoch=None),
        Style("dqn", {"DQN": "policy_net"}, epoch=None),
        Style("sac", {"Actor": "actor", "SoftQNetwork": "qf1", "SoftQNetwork-2": "qf2"}, epoch=None),
        Style("agent", {"DeepQNetwork": ("Q_eval", "deep_q_network", "deep_qnetwork")}, epoch=None),
        Style("wgan_gp", {"Discriminator": "discriminator", "Generator": "generator"}),
        Style("unet", {"UNet": "model"}),
        Style("ddpm", {"GaussianDiffusion": "diffusion"}, epoch="self.step // 4"),
        Style("gcn", {"GCN": "model"}, epoch=None),
        Style("maml", {"Regressor": "learner"}, epoch=None, copies=True),
        Style("reptile", {"Sequential": "task_model"}, epoch=None, copies=True),
        Style("forward_forward", {"Layer": ("layer", "layers"), "Layer-2": ("layer-2", "layers-2")}, epoch=None),
        Style("kfold", {"SimpleNet": "network", "SimpleNet-2": "network-2", "SimpleNet-3": "network-3"}),
        Style("search", {f"Sequential{n}": f"model{n}" for n in ("", "-2", "-3", "-4")}),
        Style("time_sequence", {"Sequence": "seq"}, epoch=None),
        Style("amp", {"Sequential": "net"}, epochs=False),
        Style("checkpointed", {"Net": "model"}),
        Style("checkpointed_whole", {"Net": "model"}),
        Style("packed", {"TextClassifier": "model"}),
        Style("seq2seq", {"EncoderRNN": "encoder", "DecoderRNN": "decoder"}),
        Style("moe", {"Transformer": "model"}),
        Style("simclr", {"ResNetSimCLR": "model"}, epoch="epoch_counter"),
        Style("byol", {"BYOL": "learner"}, average="target_encoder"),
        Style("distillation", {"DeepNN": "nn_deep", "LightNN": "nn_light"}),
        Style("swa", {"Sequential": "model"}),
        Style("freezing", {"Network": "model_ft"}),
        Style("spawned", {}, declared={"ddp_model": Declared("ToyModel", 2, ((0, 3), (4, 7), (8, 11)), 80)}),
        Style(
            "hogwild",
            {},
            declared={f"process-{n}/model": Declared("Net", 2, ((0, 9), (10, 19), (20, 29)), 200) for n in (1, 2)},
        ),
        Style("notebook", {"Sequential": "model", "Sequential-2": "model-2"}, epoch="e"),
        Style("curriculum", {"Sequential": "model"}),
        Style("streaming", {"Sequential": "model"}),
        Style("cycled", {"Sequential": "model"}, epoch=None),
        Style("early_stopping", {"Sequential": "model"}),
        Style("physics", {"PINN": "pinn"}, epoch=None),
        Style("diverged", {"Sequential": "model"}, code=1),
        Style("interrupted", {"Sequential": "model"}, code=130),
        Style("quickstart", {"NeuralNetwork": "model"}, epoch="t"),
        Style(
            "cyclegan",
            {
                "ResnetGenerator": "netG_A",
                "ResnetGenerator-2": "netG_B",
                "NLayerDiscriminator": "netD_A",
                "NLayerDiscriminator-2": "netD_B",
            },
        ),
        Style("annotated_transformer", {"EncoderDecoder": "model"}, epochs=False),
        Style("two_optimizers", {"Recommender": "model"}),
        Style("keras_fit", {"Sequential": "model"}, epoch=None, needs="keras"),
    )
}


class Truth:
    """What the oracle kept of one model, or of several that take each other's place."""

    def __init__(self, paths: list[Path], counted: str, average: str) -> None:
        files = [np.load(path) for path in paths]
        self.models = len(files)
        self.epochs: np.ndarray = np.concatenate([arrays[counted] for arrays in files])
        """The epoch of each step; of each forward in training, where these are the steps."""
        aside = {site for site in files[0]["sites"].tolist() if average and site.startswith(f"{average}.")}
        never, used, empty = (set(files[0][key].tolist()) - aside for key in ("never", "used", "empty"))
        self.missed = Counter(
            {
                "bypassed": len(never & used),
                "bypassed in training": len(used - never),
                "never called": len(never - used),
                "always 0 rows": len(empty),
                "in a copy": len(aside),
            }
        )
        """How many modules with weights gave nothing, or not in training, and why."""
        self.empty = empty
        self.unheard = sum(int(arrays["unheard"]) for arrays in files)
        """Steps that followed no forward of the phase `train`."""
        self.positions, self.masked = files[0]["masked"].tolist()
        """Positions that an `attention_mask` tells of, and how many of them it hides."""
        parts: dict[tuple[str, str], list[Values]] = defaultdict(list)
        begun = np.zeros(4, int)
        for arrays in files:
            for key in arrays:
                if key.endswith("/values"):
                    site, phase, _ = key.rsplit("/", 2)
                    if site.split("#")[0] in aside:
                        continue
                    at = arrays[f"{site}/{phase}/at"][:, [0, 2 if counted == "steps" else 3, 1, 4]]
                    parts[phase, site].append((arrays[key], at + begun))
            begun += [1 << 20, len(arrays[counted]), 0, 0]
        self.activations: dict[tuple[str, str], Values] = {
            key: (np.concatenate([values for values, _ in some]), np.concatenate([at for _, at in some]))
            for key, some in parts.items()
        }
        """By phase and site."""

    @property
    def steps(self) -> int:
        """How many the training took."""
        return len(self.epochs)

    def windows(self) -> list[tuple[int, int]]:
        """The first and the last step of every epoch."""
        starts = [0, *(np.flatnonzero(np.diff(self.epochs)) + 1), self.steps]
        return [(int(a), int(b) - 1) for a, b in pairwise(starts)]


@dataclass(frozen=True)
class Run:
    """A style run three times, with what came of it."""

    style: Style
    folder: Path
    plain: subprocess.CompletedProcess[str]
    recorded: subprocess.CompletedProcess[str]
    hooked: subprocess.CompletedProcess[str]

    @property
    def output(self) -> Path:
        """Where the runs are."""
        return self.folder / "runs"

    @cached_property
    def truths(self) -> dict[str, Truth]:
        """What is true of each model, by class."""
        files = {file.stem: [file] for file in (self.folder / "truth").glob("*.npz")}
        if self.style.copies:
            (kind,) = self.style.models
            files = {kind: [self.folder / "truth" / f"{name}.npz" for name in sorted(files, key=_place)]}
            # The model of which they are copies is stepped, and never called.
            files[kind] = [file for file in files[kind] if any(key.endswith("/values") for key in np.load(file))]
        counted = "forwards" if "--forwards" in self.style.options else "steps"
        return {kind: Truth(files[kind], counted, self.style.average) for kind in self.style.models if kind in files}

    @cached_property
    def names(self) -> dict[str, str]:
        """The name of each model's run, by class; of those that were recorded."""
        there = {path.name for path in self.output.iterdir()} if self.output.exists() else set()
        names = {}
        for kind, expected in self.style.models.items():
            found = there & set([expected] if isinstance(expected, str) else expected)
            if found:
                names[kind] = min(found)
        return names

    def pairs(self) -> Iterator[tuple[icshift.api.Run, Truth]]:
        """Every model's run with what is true of it."""
        for kind, name in self.names.items():
            yield icshift.open(self.output / name), self.truths[kind]


def _place(name: str) -> int:
    return int(name.partition("-")[2] or 1)


def run_style(style: Style, folder: Path) -> Run:
    """Run it three times, one beside the other.

    By default the run under the oracle, which knows nothing of icshift, stands for the plain one too: but where a
    script ends otherwise than well, or the oracle does not see what trains.
    """
    command = [f"{style.name}.py", *([str(folder)] if style.writes else [])]
    classes = ",".join(dict.fromkeys(kind.split("-")[0] for kind in style.models))
    ways = {
        "plain": command,
        "recorded": [*RECORDER, "-o", folder / "runs", "--samples", "all", *style.options, *command],
        "hooked": [ORACLE, folder / "truth", classes, style.epoch or "None", *command],
    }
    if not often(bool(style.code or style.declared or style.needs == "keras"), thoroughly=True):
        del ways["plain"]
    started = {
        way: start(*arguments, cwd=STYLES, program=python(*style.packages(way))) for way, arguments in ways.items()
    }
    done = {way: ended(process) for way, process in started.items()}
    return Run(style, folder, **{"plain": done["hooked"], **done})


def in_windows(values: Values, truth: Truth, spans: list[tuple[int, int]], phase: str) -> dict[int, np.ndarray]:
    """The activations of a site in each window, counted from 1; `spans` are the first and last step of each."""
    activations, at = values
    kept: dict[int, list[np.ndarray]] = defaultdict(list)
    # Those of a forward are side by side.
    begins = np.flatnonzero(np.diff(at[:, 0], prepend=-1))
    for first, following in pairwise([*begins.tolist(), len(at)]):
        _, step, epoch, begun = at[first].tolist()
        kept[_window(step, epoch, truth, spans, begun=phase == "train" or begun)].append(activations[first:following])
    return {window: np.concatenate(parts) for window, parts in kept.items()}


def _window(step: int, epoch: int, truth: Truth, spans: list[tuple[int, int]], *, begun: bool) -> int:
    """The window of a forward after so many steps: where two meet, the one of its epoch.

    Where there are no epochs it is the one of the step to come where that has begun with a forward in training, else of
    the one before.
    """
    before, after = (
        next((i for i, (_, last) in enumerate(spans, 1) if last >= s), len(spans)) for s in (max(step - 1, 0), step)
    )
    if before == after or not 0 < step < truth.steps:
        return before
    if truth.epochs[step - 1] == truth.epochs[step]:
        return after if begun else before
    return after if epoch == truth.epochs[step] else before
