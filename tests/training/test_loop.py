from __future__ import annotations

import dataclasses
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from soar.errors import CheckpointError, ConfigError, SoarError
from soar.nn.devices import computes_bf16
from soar.training.loop import FitConfig, fit, learning_rate
from soar.training.metrics import SPEED

CONFIG = FitConfig(steps=40, batch_size=8, warmup_steps=4, ema=0.9, checkpoint_every=8, log_every=3, channels_last=True)


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(4 * 16, 1))


def make_batch(rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal((8, 3, 6, 6), np.float32))


def squared_error(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    noisy = x + 0.1 * torch.randn_like(x)  # Torch's generator must be resumed as well as NumPy's.
    return {"loss": (model(noisy)[:, 0] - x.mean((1, 2, 3))).square().mean()}


def weights(model: nn.Module) -> bytes:
    return b"".join(value.contiguous().numpy().tobytes() for value in model.state_dict().values())


def run(folder: Path, config: FitConfig = CONFIG, **more: object) -> tuple[nn.Module, dict[str, float]]:
    model = make_model()
    metrics = fit(model, make_batch, squared_error, config, folder, **more)  # type: ignore[arg-type]
    return model, metrics


def curve(folder: Path) -> list[dict[str, float]]:
    """The lines of the metrics without those that say how fast it went."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in SPEED} for line in lines]


def saved_steps(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir())


def test_training_lowers_the_loss_and_reports_it(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = dataclasses.replace(CONFIG, steps=200, learning_rate=1e-2, checkpoint_every=100)
    _, metrics = run(tmp_path, config, on_step=lambda step, steps, _: seen.append((step, steps)))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert metrics["loss"] < 0.3 * lines[0]["loss"]
    assert seen == [(step, 200) for step in range(1, 201)]
    assert {"step", "loss", "gradient_norm", "learning_rate", "steps_per_s"} <= set(lines[0])
    assert list((tmp_path / "tensorboard").iterdir())


def test_bfloat16_is_used_where_it_is_computed_and_float32_where_it_would_be_imitated(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []

    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        seen.append(model(x).dtype)
        return squared_error(model, x)

    config = dataclasses.replace(CONFIG, steps=1, bf16=True, checkpoint_every=1)
    fit(make_model(), make_batch, loss, config, tmp_path)
    assert set(seen) == {torch.bfloat16 if computes_bf16(torch.device("cpu")) else torch.float32}
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512") and platform.machine() == "x86_64":
        assert not computes_bf16(torch.device("cpu"))
    assert computes_bf16(torch.device("cuda"))


@pytest.mark.parametrize("at", [1, 8, 13, 39])
def test_an_interrupted_run_ends_with_the_very_same_weights(tmp_path: Path, at: int) -> None:
    reference, _ = run(tmp_path / "whole")

    def interrupt(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", on_step=interrupt)
    assert saved_steps(tmp_path / "cut")[-1] == at
    resumed: list[int] = []
    model, _ = run(tmp_path / "cut", on_step=lambda step, *_: resumed.append(step))
    assert resumed[0] == at + 1
    assert weights(model) == weights(reference)
    logged = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert logged == sorted(set(logged))


def test_an_interrupt_signal_ends_the_step_before_it_is_raised(tmp_path: Path) -> None:
    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        if steps == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return squared_error(model, x)

    steps = 0
    with pytest.raises(KeyboardInterrupt):
        fit(make_model(), make_batch, loss, CONFIG, tmp_path)
    assert saved_steps(tmp_path)[-1] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_training_in_one_folder_is_told_at_once_who_trains_there(tmp_path: Path) -> None:
    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        with pytest.raises(ConfigError, match=rf"{tmp_path} is in use by process {os.getpid()} .* another one with --out"):
            fit(make_model(), make_batch, squared_error, CONFIG, tmp_path)
        return squared_error(model, x)

    fit(make_model(), make_batch, loss, CONFIG, tmp_path)


CHILD = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.training.test_loop import run
def report(step, steps, metrics):
    print(step, flush=True)
    sys.stdin.readline()  # The parent lets each step go, or kills.
run(Path(sys.argv[1]), on_step=report)
"""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The number of threads decides how sums are rounded."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def kill_in_step(folder: Path, kill_at: int) -> None:
    """Train in a process of its own, and SIGKILL it when `kill_at` steps are done."""
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == kill_at:
            process.kill()
            break
        process.stdin.write("\n")
        process.stdin.flush()
    assert process.wait() == -signal.SIGKILL
    process.communicate()


@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_resumes_to_the_very_same_weights(tmp_path: Path) -> None:
    kill_at = int(np.random.default_rng().integers(1, CONFIG.steps))
    kill_in_step(tmp_path / "killed", kill_at)
    steps: list[int] = []
    run(tmp_path / "killed", on_step=lambda step, *_: steps.append(step))
    run(tmp_path / "whole")
    assert steps[0] == kill_at // CONFIG.checkpoint_every * CONFIG.checkpoint_every + 1, f"killed at step {kill_at}"
    states = [load_file(tmp_path / name / "checkpoints" / "40" / "state.safetensors") for name in ("killed", "whole")]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), f"{name} differs, killed at step {kill_at}"
    killed, whole = (curve(tmp_path / name) for name in ("killed", "whole"))
    assert killed == whole, f"killed at step {kill_at}"
    assert len(whole) == 17  # Every three steps, and every eight.


def test_a_finished_run_returns_its_metrics_and_weights_at_once(tmp_path: Path) -> None:
    reference, metrics = run(tmp_path, validate=lambda _: {"error": 1.5})
    steps: list[int] = []
    model, again = run(tmp_path, validate=lambda _: {"error": 2.5}, on_step=lambda step, *_: steps.append(step))
    assert steps == []
    assert again == metrics
    assert again["validation/error"] == 1.5
    assert weights(model) == weights(reference)


def test_the_last_checkpoints_are_kept_and_nothing_is_left_aside(tmp_path: Path) -> None:
    run(tmp_path / "two")
    assert saved_steps(tmp_path / "two") == [32, 40]
    run(tmp_path / "four", dataclasses.replace(CONFIG, checkpoints_kept=4))
    assert saved_steps(tmp_path / "four") == [16, 24, 32, 40]


def test_every_checkpoint_holds_the_averaged_model_as_it_is_used(tmp_path: Path) -> None:
    model, _ = run(tmp_path / "with", export=lambda model, folder: (folder / "model").write_bytes(weights(model)))
    assert (tmp_path / "with" / "checkpoints" / "40" / "model").read_bytes() == weights(model)
    assert (tmp_path / "with" / "checkpoints" / "32" / "model").exists()
    without, _ = run(tmp_path / "without")
    assert weights(without) == weights(model)


def test_a_tracker_gets_every_line_of_the_metrics(tmp_path: Path) -> None:
    seen: list[dict[str, float]] = []
    run(tmp_path, validate=lambda _: {"error": 1.5}, track=lambda step, values: seen.append({"step": step, **values}))
    assert seen == [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"step": 8, "validation/error": 1.5} in seen


def test_another_configuration_in_the_same_folder_is_refused_by_field(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(ConfigError, match=r"learning_rate \(0.0003 there, 0.001 now\)"):
        run(tmp_path, dataclasses.replace(CONFIG, learning_rate=1e-3))


def test_a_damaged_checkpoint_is_an_error_that_says_which(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "checkpoints" / "40" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"checkpoints/40 is damaged"):
        run(tmp_path)


def test_a_checkpoint_of_another_model_is_an_error(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(CheckpointError, match="not of this model"):
        fit(nn.Linear(2, 2), make_batch, squared_error, CONFIG, tmp_path)


def test_a_diverging_run_stops_with_its_step_and_keeps_no_broken_checkpoint(tmp_path: Path) -> None:
    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        return {"loss": squared_error(model, x)["loss"] * (float("nan") if steps > 10 else 1.0)}

    steps = 0
    with pytest.raises(SoarError, match=r"loss is nan at step 11.*learning_rate"):
        fit(make_model(), make_batch, loss, CONFIG, tmp_path)
    assert saved_steps(tmp_path) == [8]


def test_a_gradient_that_is_not_finite_spoils_no_checkpoint(tmp_path: Path) -> None:
    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        nonlocal steps
        steps += 1
        # Finite, but its gradient is not: sqrt at 0.
        broken = (model[0].weight * 0).abs().sum().sqrt() if steps == 16 else torch.zeros(())  # type: ignore[index]
        return {"loss": squared_error(model, x)["loss"] + broken}

    steps = 0
    with pytest.raises(SoarError, match=r"norm of the gradient is nan at step 16.*last good checkpoint is in"):
        fit(make_model(), make_batch, loss, CONFIG, tmp_path)
    assert saved_steps(tmp_path) == [8]


def test_an_interrupt_after_divergence_saves_nothing(tmp_path: Path) -> None:
    def loss(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
        return {"loss": squared_error(model, x)["loss"] * float("nan")}

    def interrupt(_step: int, _steps: int, _metrics: dict[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SoarError, match="training loss is nan at step 1"):
        fit(make_model(), make_batch, loss, CONFIG, tmp_path, on_step=interrupt)
    assert not (tmp_path / "checkpoints").exists()


def test_validation_sees_the_averaged_weights_and_training_goes_on_with_the_raw_ones(tmp_path: Path) -> None:
    def remember(model: nn.Module) -> dict[str, float]:
        assert not model.training
        seen.append(weights(model))
        return {}

    seen: list[bytes] = []
    model, _ = run(tmp_path / "with", validate=remember)
    assert seen[-1] == weights(model)
    raw = load_file(tmp_path / "with" / "checkpoints" / "40" / "state.safetensors")
    assert not torch.equal(raw["model.0.weight"], model.state_dict()["0.weight"])
    without, _ = run(tmp_path / "without")
    assert weights(without) == weights(model)


def test_an_error_in_the_data_reaches_the_caller(tmp_path: Path) -> None:
    def broken(_rng: np.random.Generator) -> Tensor:
        raise SoarError("no such frame")

    with pytest.raises(SoarError, match="no such frame"):
        fit(make_model(), broken, squared_error, CONFIG, tmp_path)


@pytest.mark.parametrize(("name", "is_folder"), [("checkpoints", False), ("metrics.jsonl", True)])
def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path, name: str, is_folder: bool) -> None:
    def occupy(step: int, _steps: int, _metrics: dict[str, float]) -> None:
        if step == 2 and is_folder:
            (tmp_path / name).mkdir()
        elif step == 2:
            (tmp_path / name).write_text("")

    with pytest.raises(SoarError, match=rf"cannot write .*{name}.*run the same command again"):
        run(tmp_path, on_step=occupy)


def test_the_learning_rate_warms_up_linearly_and_decays_to_zero() -> None:
    config = FitConfig(steps=1000, warmup_steps=100, learning_rate=1.0)
    rates = [learning_rate(config, step) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert rates[49] == pytest.approx(0.5)
    assert max(rates) == rates[99] == rates[100] == 1.0
    assert rates[550] == pytest.approx(0.5)
    assert 0 < rates[999] < 1e-4


@pytest.mark.parametrize(
    ("field", "value"), [("steps", 0), ("learning_rate", 0.0), ("beta2", 1.0), ("ema", 1.0), ("warmup_steps", -1)]
)
def test_an_impossible_configuration_names_its_field(field: str, value: float) -> None:
    with pytest.raises(ConfigError, match=rf"fit\.{field}"):
        dataclasses.replace(CONFIG, **{field: value})  # type: ignore[arg-type]
