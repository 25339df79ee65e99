"""What icshift does on a GPU: one short table; under 10 minutes on one H100 (--cpu: a smoke of itself).

    python benchmarks/gpu.py [--cpu] [--out FILE.json]

Sections (each in a try of its own, the rest goes on):
  correct     recorded moments and quantiles against plain hooks that keep every activation: fp32, bf16 autocast, wide
              sites (more units than max_units), conv channels_last, a side stream, gradient accumulation
  identical   parameters after training with a recorder == without, to the last bit
  overhead    step time with / without on a ResNet-50 and a GPT-2 (124M), bf16 autocast; peak device memory; host RSS
  syncs       synchronising calls a step by source line (torch.cuda.set_sync_debug_mode) and Event.synchronize calls
  graphs      CUDA graph capture with a recorder attached; torch.compile(mode="reduce-overhead")
  pinned      host memory after many steps without a window's end (growth must stop)
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import resource
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

import icshift

ARGS = argparse.ArgumentParser()
ARGS.add_argument("--cpu", action="store_true")
ARGS.add_argument("--out", default="")
ARGS = ARGS.parse_args()
CUDA = not ARGS.cpu
DEVICE = "cuda" if CUDA else "cpu"
ROWS: list[tuple[str, str, str]] = []
TMP = Path(tempfile.mkdtemp())


def row(section: str, what: str, found: str) -> None:
    ROWS.append((section, what, found))
    print(f"{section:10} {what:58} {found}", flush=True)


@contextlib.contextmanager
def section(name: str):
    started = time.time()
    try:
        yield
    except Exception as error:  # noqa: BLE001
        row(name, "FAILED", f"{type(error).__name__}: {str(error)[:160]}")
        traceback.print_exc()
    finally:
        if CUDA:
            with contextlib.suppress(Exception):
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
        print(f"-- {name}: {time.time() - started:.0f} s", flush=True)


def sync() -> None:
    if CUDA:
        torch.cuda.synchronize()


def rss() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def current_rss() -> float:
    text = Path("/proc/self/statm").read_text().split()
    return int(text[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# ---------------------------------------------------------------- models


class Bottleneck(nn.Module):
    """A block of ResNet-50."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.down = None
        if stride > 1 or inputs != 4 * width:
            self.down = nn.Sequential(nn.Conv2d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        """Returns the activations of the last layer."""
        y = nn.functional.relu(self.bn1(self.conv1(x)))
        y = nn.functional.relu(self.bn2(self.conv2(y)))
        return nn.functional.relu(self.bn3(self.conv3(y)) + (x if self.down is None else self.down(x)))


def resnet50(classes=1000, depth=(3, 4, 6, 3)):
    layers, inputs = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for stage, blocks in enumerate(depth):
        width = 64 << stage
        for block in range(blocks):
            layers.append(Bottleneck(inputs, width, 2 if stage and not block else 1))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Layer(nn.Module):
    """A layer of a transformer."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        """Returns the activations of the last layer."""
        q, k, v = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2) for p in self.qkv(self.ln1(x)).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).flatten(2))
        return x + self.down(nn.functional.gelu(self.up(self.ln2(x))))


class GPT(nn.Module):
    """A decoder with tied embeddings."""

    def __init__(self, vocabulary, d, heads, layers, length):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, d), nn.Embedding(length, d)
        self.layers = nn.ModuleList(Layer(d, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(d), nn.Linear(d, vocabulary, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        """Returns the activations of the last layer."""
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.ln(x))


def amp(on=True):
    return torch.autocast(DEVICE, torch.bfloat16, enabled=on)


# ---------------------------------------------------------------- correctness


class Plain:
    """Every activation of every watched module, by plain hooks, kept on the host in float64."""

    def __init__(self, model, names):
        self.kept = collections.defaultdict(list)
        self.handles = [
            module.register_forward_hook(lambda _m, _i, o, n=name: self.kept[n].append(o.detach().float().cpu()))
            for name, module in model.named_modules()
            if name in names
        ]

    def close(self):
        """Take the hooks off."""
        for handle in self.handles:
            handle.remove()

    def values(self, site):
        """Returns what the recorded units of a site were: [units, values], float64."""
        units = []
        for one in self.kept[site.name]:
            units.append(one.movedim(site.axis, 0).flatten(1).double())
        values = torch.cat(units, 1).numpy()
        return values if site.kept is None else values[list(site.kept)]


def compare(label, model, batches, *, mixed=False, stream=None, accumulate=1, lossless=True, prepare=lambda m: m):
    torch.manual_seed(0)
    model = prepare(model.to(DEVICE))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    path = TMP / label.replace(" ", "-")
    names = {n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.BatchNorm2d, nn.LayerNorm))}
    plain = Plain(model, names)
    samples = "all" if lossless else 64
    context = torch.cuda.stream(stream) if stream is not None else contextlib.nullcontext()
    with icshift.Recorder(model, path, optimizer=optimizer, samples=samples, force=True) as recorder, context:
        for place, batch in enumerate(batches):
            with amp(mixed):
                loss = model(batch.to(DEVICE)).float().square().mean()
            loss.backward()
            if (place + 1) % accumulate == 0:
                optimizer.step()
                optimizer.zero_grad()
        recorder.epoch()
    sync()
    plain.close()
    run = icshift.open(path)
    worst = collections.Counter()
    for site in run.sites:
        if site.name not in names:
            continue
        want, got = plain.values(site), run.distribution("train", site.name, 1)
        scale = want.std(1) + 1e-12
        n = want.shape[1]
        assert (got.count == n).all(), f"{site.name}: count {got.count[:3]} != {n}"
        worst["mean"] = max(worst["mean"], float(np.abs((got.mean - want.mean(1)) / scale).max()))
        worst["std"] = max(worst["std"], float(np.abs(got.std / scale - 1).max()))
        worst["extremes"] = max(
            worst["extremes"], float(np.abs(got.min - want.min(1)).max()), float(np.abs(got.max - want.max(1)).max())
        )
        if lossless:
            middle = np.quantile(want, [0.15, 0.5, 0.85], axis=1).T
            worst["quantile/sd"] = max(
                worst["quantile/sd"], float((np.abs(got.quantile([0.15, 0.5, 0.85]) - middle) / scale[:, None]).max())
            )
    good = worst["mean"] < 1e-4 and worst["std"] < 1e-4 and worst["extremes"] < 1e-4 and worst["quantile/sd"] < 0.1
    failed = [e for e in run.manifest["ledger"] if e["state"] == "failed"]
    row(
        "correct",
        f"{label} ({len(run.sites)} sites)",
        ("ok  " if good and not failed else "WRONG  ")
        + ", ".join(f"{k} {v:.1e}" for k, v in worst.items())
        + (f" failed {failed[:1]}" if failed else ""),
    )


def correctness():
    def mlp(width=256):
        return nn.Sequential(nn.Linear(32, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10))

    def conv():
        return nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 16, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 10),
        )

    torch.manual_seed(1)
    rows, images = [torch.randn(64, 32) for _ in range(6)], [torch.randn(8, 3, 16, 16) for _ in range(6)]
    compare("mlp fp32", mlp(), rows)
    compare("mlp bf16 autocast", mlp(), rows, mixed=True)
    compare("wide site 3000 units", mlp(3000), rows)
    compare("sampled 64 of 512", mlp(), [torch.randn(512, 32) for _ in range(6)], lossless=False)
    compare("conv", conv(), images)
    compare(
        "conv channels_last bf16", conv(), images, mixed=True, prepare=lambda m: m.to(memory_format=torch.channels_last)
    )
    compare("accumulation 3", mlp(), rows, accumulate=3)
    if CUDA:
        torch.cuda.synchronize()
        compare(
            "side stream",
            mlp(1500),
            [torch.randn(4096, 32) for _ in range(6)],
            stream=torch.cuda.Stream(),
            lossless=False,
        )


def identical():
    def train(path):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(32, 1500), nn.BatchNorm1d(1500), nn.ReLU(), nn.Dropout(0.1), nn.Linear(1500, 10)
        ).to(DEVICE)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        probe = torch.randn(64, 32, device=DEVICE)
        context = (
            icshift.Recorder(model, path, optimizer=optimizer, probe=probe, window=10, force=True)
            if path
            else contextlib.nullcontext()
        )
        with context:
            for _ in range(30):
                x = torch.randn(128, 32, device=DEVICE)
                optimizer.zero_grad()
                with amp():
                    loss = nn.functional.cross_entropy(model(x).float(), torch.randint(0, 10, (128,), device=DEVICE))
                loss.backward()
                optimizer.step()
        return torch.cat([p.detach().flatten().cpu() for p in model.parameters()])

    a, b, c = train(None), train(TMP / "identical"), train(None)
    row(
        "identical",
        "30 AdamW steps, bf16, dropout, probe",
        f"recorded == plain: {torch.equal(a, b)}; plain == plain: {torch.equal(a, c)}",
    )


# ---------------------------------------------------------------- overhead and syncs


@contextlib.contextmanager
def counting():
    """Synchronising calls within, by the source line that Python was on, and Event.synchronize calls."""
    found: collections.Counter = collections.Counter()
    original = torch.cuda.Event.synchronize

    def counted(self):
        found["Event.synchronize"] += 1
        return original(self)

    torch.cuda.Event.synchronize = counted
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            torch.cuda.Event.synchronize = original
    for one in caught:
        if "synchroniz" in str(one.message).lower() and "prototype" not in str(one.message):
            found["/".join(Path(one.filename).parts[-3:]) + f":{one.lineno}"] += 1


def overhead(label, model, loss, *, steps, pairs=6):  # noqa: PLR0915
    model = model.to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=CUDA)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with amp():
            value = loss(model)
        value.backward()
        optimizer.step()

    def stretch():
        sync()
        started = time.perf_counter()
        for _ in range(steps):
            step()
        queued = time.perf_counter() - started
        sync()
        return (time.perf_counter() - started) / steps, queued / steps

    for _ in range(3):
        step()
    sync()
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
    stretch()
    bare = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0.0
    host = current_rss()
    path = TMP / label.replace(" ", "-")
    with icshift.Recorder(model, path, optimizer=optimizer, force=True) as recorder:
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        step()
        step()
        peak = torch.cuda.max_memory_allocated() / 2**30 if CUDA else 0.0
        without, recorded, queued = [], [], []
        for _ in range(pairs):
            with recorder.paused():
                step()
                without.append(stretch()[0])
            step()
            took, launch = stretch()
            recorded.append(took)
            queued.append(launch)
        ratio = np.array(recorded) / np.array(without)
        lines: dict = {}
        if CUDA:
            step()
            with counting() as found:
                for _ in range(3):
                    step()
            lines = {k: v / 3 for k, v in found.most_common(8)}
            with recorder.paused():
                step()
                with counting() as without_found:
                    for _ in range(3):
                        step()
            bare_syncs = sum(without_found.values()) / 3
        started = time.perf_counter()
        recorder.epoch()
        closing = time.perf_counter() - started
    run = icshift.open(path)
    units = sum(s.units if s.kept is None else len(s.kept) for s in run.sites)
    row(
        "overhead",
        f"{label}: {len(run.sites)} sites, {units:,} units",
        f"{1e3 * np.median(without):.1f} -> {1e3 * np.median(recorded):.1f} ms a step, "
        f"ratio {np.median(ratio):.3f} ({ratio.min():.3f} to {ratio.max():.3f})",
    )
    row(
        "overhead",
        f"{label}: host time to launch a recorded step",
        f"{1e3 * np.median(queued):.1f} ms; window closes in {closing:.2f} s; host +{current_rss() - host:.0f} MB",
    )
    row("overhead", f"{label}: peak device memory", f"{bare:.2f} -> {peak:.2f} GiB")
    bad = [f"{e['module']}: {e['reason'][:80]}" for e in run.manifest["ledger"] if e["state"] == "failed"]
    if bad:
        row("overhead", f"{label}: FAILED SITES {len(bad)}", bad[0])
    if CUDA:
        ours = sum(v for k, v in lines.items() if "icshift" in k or "Event" in k)
        row(
            "syncs",
            f"{label}: a recorded step / a paused one",
            f"{sum(lines.values()):.1f} ({ours:.1f} in icshift) / {bare_syncs:.1f}",
        )
        for line, times in lines.items():
            row("syncs", f"   {line}", f"{times:.1f} a step")


def graphs():
    model = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 256)).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    x = torch.randn(64, 256, device=DEVICE)
    for recording in (False, True):
        context = (
            icshift.Recorder(model, TMP / "graph", optimizer=optimizer, force=True)
            if recording
            else contextlib.nullcontext()
        )
        label = "recorder attached" if recording else "no recorder"
        try:
            with context:
                side = torch.cuda.Stream()
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(3):
                        optimizer.zero_grad(set_to_none=True)
                        model(x).square().mean().backward()
                        optimizer.step()
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                optimizer.zero_grad(set_to_none=True)
                with torch.cuda.graph(graph):
                    loss = model(x).square().mean()
                    loss.backward()
                for _ in range(5):
                    graph.replay()
                sync()
                value = float(loss)
            row("graphs", f"torch.cuda.graph, {label}", f"captured and replayed, loss {value:.4f}")
        except Exception as error:  # noqa: BLE001
            row(
                "graphs",
                f"torch.cuda.graph, {label}",
                f"FAILED {type(error).__name__}: {str(error).splitlines()[0][:110]}",
            )
    with contextlib.suppress(Exception):
        run = icshift.open(TMP / "graph")
        row(
            "graphs",
            "what the recorder saw (3 warm-up steps, capture, 5 replays)",
            f"steps {run.manifest['steps']}, "
            f"failed {[e['reason'][:70] for e in run.manifest['ledger'] if e['state'] == 'failed'][:1]}",
        )


def compiled():
    for mode in (None, "reduce-overhead"):
        torch._dynamo.reset()
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(256, 512), nn.LayerNorm(512), nn.GELU(), nn.Linear(512, 256)).to(DEVICE)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        x = torch.randn(64, 256, device=DEVICE)
        fast = torch.compile(model, mode=mode) if mode else torch.compile(model)

        def step(optimizer=optimizer, fast=fast, x=x):
            optimizer.zero_grad(set_to_none=True)
            fast(x).square().mean().backward()
            optimizer.step()

        path = TMP / f"compiled-{mode}"
        for _ in range(5):
            step()
        sync()
        started = time.perf_counter()
        for _ in range(20):
            step()
        sync()
        bare = (time.perf_counter() - started) / 20
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with icshift.Recorder(model, path, optimizer=optimizer, force=True):
                for _ in range(5):
                    step()
                sync()
                started = time.perf_counter()
                for _ in range(20):
                    step()
                sync()
                took = (time.perf_counter() - started) / 20
        run = icshift.open(path)
        told = [str(w.message)[:60] for w in caught if "cudagraph" in str(w.message).lower()]
        count = int(run.distribution("train", "0", run.window_list[-1].index).count[0])
        row(
            "graphs",
            f"torch.compile mode={mode}",
            f"{1e3 * bare:.2f} -> {1e3 * took:.2f} ms; steps {run.manifest['steps']}, "
            f"count {count} (want {25 * 64}) {told[:1]}",
        )


def pinned():
    model = nn.Sequential(*[nn.Linear(512, 512) for _ in range(16)]).to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x = torch.randn(4096, 512, device=DEVICE)
    seen = []
    with icshift.Recorder(model, TMP / "pinned", optimizer=optimizer, force=True) as recorder:
        for place in range(300 if CUDA else 20):
            optimizer.zero_grad(set_to_none=True)
            model(x).square().mean().backward()
            optimizer.step()
            if place % (50 if CUDA else 5) == 0:
                stats = torch.cuda.host_memory_stats() if CUDA and hasattr(torch.cuda, "host_memory_stats") else {}
                held = stats.get("allocated_bytes.current", stats.get("allocated_bytes.allocated", 0)) / 2**20
                seen.append(
                    f"{place}: rss {current_rss():.0f} pinned {held:.0f} "
                    f"queue {len(recorder._observer._transfer._queue)}"
                )
    row("pinned", "MB of host memory by step", "; ".join(seen))


def main():
    print(torch.__version__, torch.cuda.get_device_name() if CUDA else "cpu", icshift.__file__, flush=True)
    with section("correct"):
        correctness()
    with section("identical"):
        identical()
    if CUDA:
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    images, classes = (
        torch.randn(128 if CUDA else 2, 3, 224 if CUDA else 32, 224 if CUDA else 32, device=DEVICE).to(
            memory_format=torch.channels_last
        ),
        torch.randint(0, 1000, (128 if CUDA else 2,), device=DEVICE),
    )
    with section("overhead"):
        overhead(
            "ResNet-50",
            resnet50(depth=(3, 4, 6, 3) if CUDA else (1, 1, 1, 1)).to(memory_format=torch.channels_last),
            lambda m: nn.functional.cross_entropy(m(images).float(), classes),
            steps=10 if CUDA else 1,
            pairs=6 if CUDA else 2,
        )
    size = (
        {"vocabulary": 50257, "d": 768, "heads": 12, "layers": 12, "length": 1024}
        if CUDA
        else {"vocabulary": 2000, "d": 64, "heads": 4, "layers": 2, "length": 32}
    )
    tokens = torch.randint(0, size["vocabulary"], (8 if CUDA else 2, size["length"] + 1), device=DEVICE)
    with section("overhead"):
        overhead(
            "GPT-2 124M",
            GPT(**size),
            lambda m: nn.functional.cross_entropy(m(tokens[:, :-1]).flatten(0, 1).float(), tokens[:, 1:].flatten()),
            steps=8 if CUDA else 1,
            pairs=6 if CUDA else 2,
        )
    wide = (
        {"vocabulary": 4096, "d": 2048, "heads": 16, "layers": 8, "length": 512}
        if CUDA
        else {"vocabulary": 100, "d": 1100, "heads": 4, "layers": 1, "length": 16}
    )
    tokens2 = torch.randint(0, wide["vocabulary"], (8 if CUDA else 2, wide["length"] + 1), device=DEVICE)
    with section("overhead"):  # every site has more units than max_units: are there synchronisations a hook?
        overhead(
            "GPT d=2048",
            GPT(**wide),
            lambda m: nn.functional.cross_entropy(m(tokens2[:, :-1]).flatten(0, 1).float(), tokens2[:, 1:].flatten()),
            steps=8 if CUDA else 1,
            pairs=4 if CUDA else 2,
        )
    with section("pinned"):
        pinned()
    with section("graphs"):
        if CUDA:
            compiled()
    with section("graphs"):  # last: a failed capture may leave the context unusable
        if CUDA:
            graphs()
    print("\n" + "=" * 30 + "\n" + "\n".join(f"{s:10} {w:58} {f}" for s, w, f in ROWS))
    out = ARGS.out or (str(Path(os.environ["OUT"]) / "gpu.json") if "OUT" in os.environ else "")
    if out:
        Path(out).write_text(json.dumps(ROWS, indent=1))


if __name__ == "__main__":
    main()
