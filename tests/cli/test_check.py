"""`icshift check`: what it prints and writes, and its exit codes."""

import json
import shutil
import subprocess
from collections import OrderedDict
from dataclasses import asdict
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from torch import nn

import icshift
from icshift.cli.main import _run
from icshift.runs.format import Site, Window
from icshift.runs.writer import Recording
from tests.recorded import distribution
from tests.warm.starting import icshift as program

SITES = [
    Site("fc1", "Linear", axis=1, units=8, feeds=("ReLU",)),
    Site("fc2[0]", "Linear", axis=1, units=8),
    Site("late", "Linear", axis=1, units=8),
]


def activations(window, place):
    """[units, n]: fc1 and late drift, fc2[0] does not; a unit of fc1 is dead, one of fc2[0] has a NaN in window 1."""
    values = np.random.default_rng([window, place]).normal(0, 1, (8, 300))
    if place != 1:
        values += 0.5 * window
    if place == 0:
        values[0] = -np.abs(values[0])
    elif window == 1:
        values[2, 7] = np.nan
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds a run of three windows, the first without the site `late`, and one of a single window."""
    folder = tmp_path_factory.mktemp("check")
    manifest = {"model": "Net", "ledger": [], "sites": [asdict(site) for site in SITES]}
    for name, windows in (("run", 3), ("single", 1)):
        recording = Recording(folder / name, manifest)
        for window in range(1, windows + 1):
            places = range(3 if window > 1 else 2)
            kept = {("train", SITES[place]): distribution(activations(window, place)) for place in places}
            kept["probe", SITES[0]] = distribution(activations(window, 0), blocks=False)
            recording.write_window(
                Window(window, f"epoch {window}", 10 * window - 10, 10 * window - 1, closed=True), kept
            )
        recording.finish({})
    return folder


@pytest.fixture
def check(folder, monkeypatch, capfd):
    """Runs `icshift check` in the folder with conditions and options; gives exit code, stdout and stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*conditions, run="run", options=()):
        asked = [word for condition in conditions for word in ("--fail-on", condition)]
        code = _run(["check", run, *asked, *map(str, options)])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def test_what_fails_comes_first(check):
    code, out, err = check("fc* w1_sd > 0.4", "dead > 0", "nonfinite > 20%", "w1_sd > 5x floor", "moved < 1")
    assert (code, err) == (1, "")
    assert out == (
        "run · Net · phase train · reference previous\n"
        "FAILED        fc1: w1_sd 0.589 sd > 0.4 (floor 0.090, n = 300, window epoch 3)\n"
        "FAILED        fc1: dead 1 of 8 units > 0 (n = 300, window epoch 1)\n"
        "FAILED        fc1: w1_sd 0.589 sd = 6.53x floor > 5x floor (floor 0.090, n = 300, window epoch 3)\n"
        "FAILED        late: w1_sd 0.552 sd = 5.66x floor > 5x floor (floor 0.098, n = 300, window epoch 3)\n"
        "FAILED        fc2[0]: moved 0 of 8 units < 1 (n = 300, window epoch 3)\n"
        "ok            fc* w1_sd > 0.4: fc2[0] with 0.078 sd (floor 0.095, n = 300, window epoch 3)\n"
        "ok            nonfinite > 20%: 3 sites, nearest fc2[0] with 1 of 8 units = 12.5% (n = 300, window epoch 1)\n"
        "ok            w1_sd > 5x floor: fc2[0] with 0.078 sd = 0.829x floor (floor 0.095, n = 300, window epoch 3)\n"
        "ok            moved < 1: 2 sites, nearest fc1 with 8 of 8 units (n = 300, window epoch 3)\n"
        "skipped       dead > 0: fc2[0], late: no ReLU reads it\n"
        "5 of 12 checks failed, 2 skipped\n"
        "Next: icshift units run --site fc1\n"
    )


def test_all_well(check):
    code, out, err = check("fc1 w1_sd > 9", "fc1 ks > 99%")
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        "ok            fc1 w1_sd > 9: fc1 with 0.589 sd (floor 0.090, n = 300, window epoch 3)",
        "ok            fc1 ks > 99%: fc1 with 24.8% (floor 0.061, n = 300, window epoch 3)",
        "2 checks ok",
    ]


def test_what_could_not_be_measured_does_not_pass(check):
    code, out, _ = check("w1_sd > 9", options=["--reference", "first"])
    assert code == 1
    assert "not measured  late: w1_sd > 9: nothing to compare in window epoch 3\n" in out
    assert "ok            w1_sd > 9: 2 sites, nearest fc1 with" in out
    assert out.endswith("0 of 3 checks failed, 1 not measured\nNext: icshift info run\n")


def test_numbers_are_those_of_the_report(check):
    report = icshift.open("run").report(reference="first").set_index("site")
    _, out, _ = check("w1_sd > 0.4", "w1_sd > 1x floor", options=["--reference", "first"])
    row = report.loc["fc1"]
    assert f"FAILED        fc1: w1_sd {row['drift']:.3f} sd > 0.4 (floor {row['floor']:.3f}, n = {row['n']}," in out
    assert f"{row['drift']:.3f} sd = {row['ratio']:.3g}x floor > 1x floor" in out


def test_every_window_is_checked_where_asked(check):
    worst = icshift.open("run").drift(sites="fc1").query("~near_constant").groupby("window")["value"].median()
    assert worst[2] < worst[3]
    (last,) = json.loads(check("fc1 w1_sd < 9", options=["--json"])[1])["checks"]
    assert (last["name"], last["value"]) == ("epoch 3", pytest.approx(worst[3]))
    (least,) = json.loads(check("fc1 w1_sd < 9", options=["--json", "--window", "all"])[1])["checks"]
    assert (least["name"], least["value"]) == ("epoch 2", pytest.approx(worst[2]))


def test_another_phase_is_told_and_kept(check):
    code, out, _ = check("w1_sd > 0.1", options=["--phase", "probe"])
    assert code == 1
    assert out.splitlines() == [
        "run · Net · phase probe · reference previous",
        "FAILED        fc1: w1_sd 0.589 sd > 0.1 (n = 300, window epoch 3)",
        "skipped       w1_sd > 0.1: fc2[0], late: nothing recorded in phase probe",
        "1 of 1 check failed, 2 skipped",
        "Next: icshift units run --site fc1 --phase probe",
    ]


def test_quiet_gives_no_hint(check):
    loud, quiet = check("dead > 0")[1], check("dead > 0", options=["-q"])[1]
    assert loud == quiet + "Next: icshift units run --site fc1\n"


def test_the_same_condition_twice_is_one(check):
    assert check("w1_sd > 9", "w1_sd>9.0", "median(w1_sd) > 9")[1] == check("w1_sd > 9")[1]


def test_json_is_what_the_conditions_found(check):
    code, out, _ = check("fc* w1_sd > 2x floor", "dead > 20%", options=["--json"])
    found = json.loads(out)
    assert code == 1
    assert {key: found[key] for key in ("run", "phase", "reference", "passed")} == {
        "run": "run",
        "phase": "train",
        "reference": "previous",
        "passed": False,
    }
    rows = found["checks"]
    assert [(row["condition"], row["site"], row["state"]) for row in rows] == [
        ("fc* w1_sd > 2x floor", "fc1", "failed"),
        ("fc* w1_sd > 2x floor", "fc2[0]", "ok"),
        ("dead > 20%", "fc1", "ok"),
        ("dead > 20%", "fc2[0]", "skipped"),
        ("dead > 20%", "late", "skipped"),
    ]
    report = icshift.open("run").report().set_index("site").loc["fc1"]
    assert (rows[0]["value"], rows[0]["floor"], rows[0]["level"]) == pytest.approx(
        (report["drift"], report["floor"], report["ratio"])
    )
    assert (rows[0]["limit"], rows[0]["metric_unit"], rows[0]["n"], rows[0]["units"]) == (2, "sd", 300, 8)
    assert (rows[0]["window"], rows[0]["name"], rows[0]["reference"]) == (3, "epoch 3", "epoch 2")
    assert (rows[2]["limit"], rows[2]["metric_unit"], rows[2]["value"], rows[2]["level"]) == (0.2, "units", 1, 1 / 8)
    assert (rows[3]["reason"], rows[3]["value"]) == ("no ReLU reads it", None)


def test_names_are_no_markup(check, folder):
    (folder / "[bold]").symlink_to(folder / "run")
    code, out, _ = check("dead > 0", run="[bold]")
    assert code == 1
    assert out.startswith("[bold] · Net")
    assert out.endswith("icshift units '[bold]' --site fc1\n")


def test_junit_has_a_case_a_condition_and_site(check, tmp_path):
    conditions = ("w1_sd > 0.4", "dead > 20%")
    code, out, _ = check(*conditions, options=["--junit", tmp_path / "check.xml", "--reference", "first"])
    assert code == 1
    assert out == check(*conditions, options=["--reference", "first"])[1]
    root = ET.parse(tmp_path / "check.xml").getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    assert suite.get("name") == "icshift check run, phase train, reference first"
    for totals in (root, suite):
        assert [totals.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["6", "1", "1", "2"]
    cases = [(case.get("name"), case.get("classname"), *(child.tag for child in case)) for case in suite]
    assert cases == [
        ("w1_sd > 0.4", "fc1", "failure"),
        ("w1_sd > 0.4", "fc2[0]", "system-out"),
        ("w1_sd > 0.4", "late", "error"),
        ("dead > 20%", "fc1", "system-out"),
        ("dead > 20%", "fc2[0]", "skipped"),
        ("dead > 20%", "late", "skipped"),
    ]
    assert suite[0][0].get("message") in out
    assert suite[2][0].get("message") == "w1_sd > 0.4: nothing to compare in window epoch 3"
    assert suite[3][0].text == "dead 1 of 8 units = 12.5% not > 20% (n = 300, window epoch 1)"


def test_junit_to_stdout_is_all_there_is(check):
    code, out, _ = check("dead > 0", options=["--junit", "-"])
    assert code == 1
    assert ET.fromstring(out)[0].get("failures") == "1"


def test_junit_goes_with_json(check, tmp_path):
    code, out, _ = check("dead > 20%", options=["--junit", tmp_path / "check.xml", "--json"])
    assert (code, json.loads(out)["passed"]) == (0, True)
    assert ET.parse(tmp_path / "check.xml").getroot().get("failures") == "0"


def test_junit_never_overwrites_silently(check, tmp_path):
    path = tmp_path / "check.xml"
    path.write_text("mine")
    code, out, err = check("dead > 20%", options=["--junit", path])
    assert (code, out, path.read_text()) == (2, "", "mine")
    assert "--force" in err
    assert check("dead > 20%", options=["--junit", path, "--force"])[0] == 0
    assert ET.parse(path).getroot().tag == "testsuites"


MISTAKES = {
    "no condition": ((), {}, "Missing option '--fail-on'"),
    "half a condition": (
        ("w1_sd",),
        {},
        "cannot read the condition 'w1_sd'; expected [SITE] QUANTITY > LIMIT in quote",
    ),
    "unknown metric": (("w1sd > 3",), {}, "no metric or condition 'w1sd'; did you mean w1_sd"),
    "unknown site": (("fc11 w1_sd > 3",), {}, "no site 'fc11'; did you mean fc1"),
    "unknown phase": (("w1_sd > 3",), {"options": ["--phase", "trian"]}, "did you mean train"),
    "unknown reference": (("dead > 3",), {"options": ["--reference", "frist"]}, "did you mean first"),
    "no such run": (("w1_sd > 3",), {"run": "nowhere"}, "no such run: nowhere"),
    "no floor": (("fc1 w1_sd > 3x floor",), {"options": ["--phase", "probe"]}, "no sampling noise and no floor"),
    "no ReLU": (("late dead > 3",), {}, "no ReLU reads it"),
    "no such directory": (("dead > 3",), {"options": ["--junit", "nowhere/a.xml"]}, "there is no directory nowhere"),
    "two for stdout": (("dead > 3",), {"options": ["--json", "--junit", "-"]}, "both go to stdout"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line_and_exit_code_2(mistake, check):
    conditions, options, expected = MISTAKES[mistake]
    code, out, err = check(*conditions, **options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("icshift: ")
    assert expected in err


def test_one_window_has_health(check):
    assert check("dead > 0", "nonfinite > 0", run="single")[0] == 1
    assert check("dead > 1", run="single")[0] == 0


@pytest.mark.parametrize("window", ["last", "all"])
@pytest.mark.parametrize("quantity", ["w1_sd > 3", "fc1 moved > 0", "fc1 w1_sd > 3x floor"])
def test_drift_in_one_window_is_not_measured(quantity, window, check, tmp_path):
    code, out, err = check(quantity, run="single", options=["--window", window, "--junit", tmp_path / "a.xml"])
    assert (code, err) == (1, "")
    assert f"not measured  fc1: {quantity.removeprefix('fc1 ')}: nothing to compare in phase train; drift needs" in out
    assert "1 not measured" in out or "2 not measured" in out
    assert "nothing to compare" in (tmp_path / "a.xml").read_text()
    rows = json.loads(check(quantity, run="single", options=["--json"])[1])["checks"]
    assert {(row["state"], row["window"], row["value"]) for row in rows if row["site"] == "fc1"} == {
        ("unmeasured", None, None)
    }


def test_metrics_by_example(two_windows, command):
    table = icshift.open(two_windows).report("cka_distance", phase="probe").set_index("site")["drift"]
    limit = table.mean()
    code, out, _ = command(
        "check",
        two_windows,
        "--phase",
        "probe",
        "--fail-on",
        f"cka_distance > {limit}",
        "--fail-on",
        "marginal_share > 101%",
    )
    assert code == 2
    code, out, _ = command(
        "check",
        two_windows,
        "--phase",
        "probe",
        "--fail-on",
        f"cka_distance > {limit}",
        "--fail-on",
        "displacement > 1e9",
    )
    assert code == 1
    assert f"FAILED        {table.idxmax()}: cka_distance" in out
    assert "(n = 50, window 2)" in out
    assert "ok            displacement > 1000000000: 2 sites" in out


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("displacement > 1", "choose --phase probe"),
        ("p90(sliced_w2) > 1", "one number a site: there is no p90"),
        ("cka_distance > 3x floor", "has no floor: give a number"),
    ],
)
def test_what_metrics_by_example_do_not_have_is_refused(condition, expected, two_windows, refused):
    assert expected in refused("check", two_windows, "--fail-on", condition)


def test_a_real_recording(with_batch_norm, command):
    expected = icshift.open(with_batch_norm).report(reference="first").set_index("site")["drift"]
    limit = expected.sort_values().iloc[:2].mean()
    code, out, err = command("check", with_batch_norm, "--fail-on", f"w1_sd > {limit}", "--reference", "first")
    assert code == 1, err
    failed = {line.split()[1].rstrip(":") for line in out.splitlines() if line.startswith("FAILED")}
    assert failed == set(expected[expected > limit].index)
    code, out, err = command("check", with_batch_norm, "--fail-on", "nonfinite > 0", "--fail-on", "w1_sd > 99")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "6 checks ok"


def test_a_site_that_could_not_be_recorded_to_the_end_never_passes(tmp_path, command):
    """Its layer was replaced by another one with more units in the midst of the training: nobody saw what that gave."""
    model = nn.Sequential(OrderedDict(a=nn.Linear(5, 4), b=nn.Linear(4, 4), c=nn.Linear(4, 2)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(30, 5)).mean().backward()
            optimizer.step()

    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer, window=5):
        train(10)
        model.b, model.c = nn.Linear(4, 7), nn.Linear(7, 2)
        with pytest.warns(RuntimeWarning, match="stopped recording b"):
            train(10)
    code, out, _ = command("check", tmp_path / "run", "--fail-on", "b nonfinite > 0")
    assert code == 1
    assert "not measured" in out
    assert "its recording failed: b had 4 units" in " ".join(out.split())
    code, out, _ = command("check", tmp_path / "run", "--fail-on", "a nonfinite > 0")
    assert code == 0, out


def test_no_colour_when_not_wanted(folder, command, monkeypatch):
    arguments = "check", folder / "run", "--fail-on", "dead > 0"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in command(*arguments)[1]
    assert "\x1b[3" not in command(*arguments, "--no-color")[1]


def test_a_pipe_that_closes_early_never_passes_what_fails(folder):
    many = " ".join(f"--fail-on 'w1_sd > 0.0{number}'" for number in range(1, 100))
    for option in ("", "--json", "--junit -"):
        command = f"{program()} check {folder / 'run'} {many} {option} | true"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode != 0
        assert "Traceback" not in done.stderr


GAP = {"first_step": 10, "last_step": 19, "reason": "No space left on device", "time": "2026-01-01T00:00:00+00:00"}
STOP = {"reason": "No space left on device", "step": 20, "time": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("entries", "heading", "sentence"),
    [
        ({"finished": False}, " · unfinished", "still goes on, or its process was killed"),
        (
            {"finished": False, "stopped": STOP},
            " · stopped at step 20: No space",
            "Recording stopped at step 20 (No space",
        ),
        (
            {"interrupted": {"by": "KeyboardInterrupt", "step": 30, "time": "2026-01-01T00:00:00+00:00"}},
            " · ended by KeyboardInterrupt",
            "The training was ended by KeyboardInterrupt after 30 steps.",
        ),
        ({"gaps": [GAP]}, " · 10 steps not recorded", "Steps 10 to 19 were not recorded: No space left on device."),
    ],
)
def test_a_run_that_is_not_whole_fails_unless_that_is_allowed(entries, heading, sentence, folder, check):
    shutil.copytree(folder / "run", folder / "part", dirs_exist_ok=True)
    manifest = json.loads((folder / "part" / "run.json").read_text())
    del manifest["checksum"]
    (folder / "part" / "run.json").write_text(json.dumps(manifest | entries))
    code, out, _ = check("fc1 w1_sd > 9", run="part")
    assert code == 1
    assert heading in " ".join(out.split("\n")[:2])
    assert sentence in " ".join(out.split())
    assert "The check fails" in out
    code, out, _ = check("fc1 w1_sd > 9", run="part", options=["--allow-unfinished"])
    assert code == 0
    assert "The check fails" not in out
    assert sentence in " ".join(out.split())
    code, out, _ = check("fc1 w1_sd > 9", run="part", options=["--json"])
    told = json.loads(out)
    assert (code, told["passed"]) == (1, False)
    assert told["stopped"] == entries.get("stopped")
    code, _, _ = check("fc1 w1_sd > 9", run="part", options=["--junit", "part.xml", "--force", "--quiet"])
    suite = ET.parse(folder / "part.xml").getroot()
    assert (code, suite.get("failures"), suite.get("tests")) == (1, "1", "2")
