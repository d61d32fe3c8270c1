"""Man pages and completion say what the program says; the files of packaging/ are what their linters want.

Linters that are not installed are skipped, by name. Environment: LOOKALIKE_BUILD (default: build).
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = SOURCE / os.environ.get("LOOKALIKE_BUILD", "build") / "lookalike"
PACKAGING = SOURCE / "packaging"


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, encoding="utf-8", timeout=120, **options)


def linter(name):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    return name


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    if not PROGRAM.exists():
        pytest.skip(f"{PROGRAM} is not built")
    folder = tmp_path_factory.mktemp("manual")
    done = run(sys.executable, SOURCE / "tools/manual.py", PROGRAM, folder)
    assert done.returncode == 0, done.stderr
    return folder


def commands():
    text = run(PROGRAM, "help").stdout
    return [name for name in re.findall(r"^  ([a-z]+)  +\S", text, re.M) if name != "help"]


def flags(command):
    """Every word that looks like a flag in the first column of the help: found apart from how manual.py does it."""
    lines = run(PROGRAM, command, "--help").stdout.splitlines()
    first = [re.split(r"  +", line.strip())[0] for line in lines if line.startswith("  --")]
    return {word.rstrip(",") for column in first for word in column.split() if re.fullmatch(r"--[a-z0-9-]+,?", word)}


def test_every_command_and_flag_is_everywhere(manual):
    names = commands()
    assert {"serve", "import", "search", "backup", "restore", "doctor"} <= set(names)
    bash, zsh, fish = ((manual / name).read_text() for name in ("lookalike.bash", "_lookalike", "lookalike.fish"))
    for name in names:
        page = (manual / f"lookalike-{name}.1").read_text().replace("\\-", "-")
        words = re.search(rf"^    {name}\) flags=\"(.*)\" ;;$", bash, re.M)[1].split()
        in_zsh = zsh[zsh.index(f"\n    {name})"):].split(";;")[0]
        in_fish = "\n".join(line for line in fish.splitlines() if f"__fish_seen_subcommand_from {name}'" in line)
        found = flags(name)
        assert len(found) >= 3, f"no flags of {name} were found"
        for flag in found:
            assert re.search(rf"^(?:.*, )?\\fB{flag}\\fR", page, re.M), f"{flag} of {name} is not in its man page"
            assert flag in words and f"*{flag}[" in in_zsh and f"-l {flag[2:]} " in in_fish, f"{flag} of {name} is not completed"
        assert set(words) == found, f"completion of {name} has what the program has not"
        assert f"lookalike-{name}" in (manual / "lookalike.1").read_text().replace("\\-", "-")


def test_man_pages(manual):
    linter("mandoc")
    for page in sorted(manual.glob("*.1")):
        done = run("mandoc", "-T", "lint", "-W", "warning", page)
        serious = [line for line in done.stdout.splitlines() if "missing date" not in line]
        assert not serious, "\n".join(serious)


@pytest.mark.parametrize("shell, file", [("bash", "lookalike.bash"), ("zsh", "_lookalike"), ("fish", "lookalike.fish")])
def test_completion_is_valid(manual, shell, file):
    done = run(linter(shell), "-n", manual / file)
    assert done.returncode == 0, done.stderr


def test_bash_completes(manual):
    def complete(*words):
        script = (f"source {manual}/lookalike.bash; COMP_WORDS=({' '.join(repr(w) for w in words)}); "
                  f"COMP_CWORD={len(words) - 1}; _lookalike; printf '%s\\n' \"${{COMPREPLY[@]}}\"")
        return set(run("bash", "-c", script).stdout.split())
    assert complete("lookalike", "ba") == {"backup"}
    assert complete("lookalike", "doctor", "--dr") == {"--drop-damaged"}
    assert "--backup-dir" in complete("lookalike", "serve", "--b")
    assert complete("lookalike", "help", "rest") >= {"restore"}


def test_unit(tmp_path):
    linter("systemd-analyze")
    unit = tmp_path / "lookalike.service"
    program = PROGRAM if PROGRAM.exists() else "/bin/true"
    unit.write_text((PACKAGING / "lookalike.service").read_text().replace("/usr/bin/lookalike", str(program)))
    done = run("systemd-analyze", "verify", "--man=no", unit)
    problems = [line for line in done.stderr.splitlines() if "lookalike.service" in line]
    assert not problems, "\n".join(problems)


def test_models_of_the_package_can_be_used(tmp_path):
    """All that a manifest names is there: build-deb once left out a file that manifests had come to name."""
    models = SOURCE / "models"
    if not PROGRAM.exists() or not (models / "efficientnet-lite2").exists():
        pytest.skip("the program is not built, or has no models")
    done = run(PACKAGING / "install-models", models, tmp_path, "efficientnet-lite2", "efficientnet-lite0")
    assert done.returncode == 0, done.stderr
    done = run(PROGRAM, "model", "list", "--models", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"efficientnet-lite0", "efficientnet-lite2"} <= {line.split()[0] for line in done.stdout.splitlines()}
    assert not list(tmp_path.rglob("*.onnx"))
    manifest = json.loads((tmp_path / "efficientnet-lite2/model.json").read_text())
    (tmp_path / "efficientnet-lite2" / manifest["file"]).unlink()
    assert run(PROGRAM, "model", "list", "--models", tmp_path).returncode != 0


def test_configuration_of_the_package_loads(tmp_path):
    """Every key of the installed file is one that the program knows."""
    text = (PACKAGING / "lookalike.conf").read_text().replace("/var/lib/lookalike", str(tmp_path / "data"))
    text = text.replace("#listen", "listen")
    (tmp_path / "conf").write_text(text)
    done = run(PROGRAM, "doctor", "--data", tmp_path, "--config", tmp_path / "conf", "--json")
    assert "there is no key" not in done.stdout + done.stderr


@pytest.mark.parametrize("file", sorted(p.relative_to(SOURCE) for p in [*PACKAGING.glob("build-*"), *PACKAGING.glob("check-*"),
                                        *(PACKAGING / "debian").glob("p*"), SOURCE / "scripts/fuzz"]), ids=str)
def test_scripts(file):
    done = run(linter("shellcheck"), "--severity=warning", "-x", SOURCE / file)
    assert done.returncode == 0, done.stdout
