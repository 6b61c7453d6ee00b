"""What travels between machines, encrypted: with certificates that are made here."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from soar.errors import ConfigError, ModelServerError
from soar.evaluation.canary import canary_verdict
from soar.fleet.asking import ask
from soar.fleet.config import FleetConfig, FleetRobot, Tls, load_fleet
from soar.fleet.running import run_fleet
from soar.remote import transport
from tests.fleet.test_fleet import CELL, LAB, Lab, lab, stored

__all__ = ["lab"]
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def certificate(folder: Path, name: str) -> Tls:
    """Make a certificate for 127.0.0.1 that vouches for itself."""
    made = Tls(certificate=str(folder / f"{name}.pem"), key=str(folder / f"{name}.key"))
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", "-out", made.certificate, "-keyout", made.key]
    subprocess.run(words, check=True, capture_output=True)
    return made


@pytest.fixture(autouse=True)
def trusting_anew() -> Iterator[None]:
    transport.trust.cache_clear()
    yield
    transport.trust.cache_clear()


def test_robots_here_and_on_other_computers_speak_tls_and_trust_nobody_else(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = lab.names
    made = certificate(lab.folder, "lab")
    lab.write(episodes=100_000)
    file = lab.folder / "lab.yaml"
    text = file.read_text().replace(f"{right}.yaml, at: here", "bench.yaml, at: join")
    file.write_text(text + "tls: {certificate: lab.pem, key: lab.key}\n")
    assert load_fleet(file).tls == made
    trusting = {"SSL_CERT_FILE": made.certificate}
    lab.soar("up", "lab.yaml", "--run", "run", **trusting)
    while not (lab.run / "fleet.json").exists():
        assert lab.processes[0].poll() is None, lab.said()
    url, token = json.loads((lab.run / "fleet.json").read_text())["url"], (lab.run / "token").read_text()
    assert url.startswith("https://127.0.0.1:")
    with pytest.raises(ModelServerError, match=r"CERTIFICATE_VERIFY_FAILED.*in SSL_CERT_FILE"):
        ask(url, "GET", "/v1/status")
    monkeypatch.setenv("SSL_CERT_FILE", certificate(lab.folder, "other").certificate)
    transport.trust.cache_clear()
    with pytest.raises(ModelServerError, match="CERTIFICATE_VERIFY_FAILED"):
        ask(url, "GET", "/v1/status")
    monkeypatch.setenv("SSL_CERT_FILE", made.certificate)
    transport.trust.cache_clear()
    with pytest.raises(ModelServerError):
        ask(url.replace("https", "http"), "GET", "/v1/status")
    there = lab.folder / "there"
    there.mkdir()
    (there / "lab.py").write_text(LAB)
    (there / "bench.yaml").write_text(CELL.format(name=right, broken="false"))
    join = ("join", url, "--robot", right, "--workcell", "bench.yaml")
    lab.soar(*join, computer=there, SOAR_TOKEN=token, **trusting)
    lab.until(lambda state: stored(state, left) >= 1 and stored(state, right) >= 1)


def test_a_certificate_that_nobody_could_trust_is_one_error_and_nothing_is_made(tmp_path: Path) -> None:
    one, other = certificate(tmp_path, "one"), certificate(tmp_path, "other")
    with pytest.raises(ConfigError, match="both the certificate and its key, or neither"):
        Tls(certificate="lab.pem")
    for tls, host, words in (
        (Tls(certificate=one.certificate, key="nowhere.key"), "127.0.0.1", "are no certificate and its key"),
        (Tls(certificate=one.certificate, key=other.key), "127.0.0.1", "are no certificate and its key"),
        (one, "0.0.0.0", "no certificate is for all addresses"),
    ):
        config = FleetConfig(robots={"one": FleetRobot(workcell="sim:scene1", at="join")}, tls=tls)
        with pytest.raises(ConfigError, match=words):
            run_fleet(config, tmp_path / "run", decide=canary_verdict, host=host)
    assert not (tmp_path / "run").exists()
