"""The Dockerfile, read and not built: it names only what exists, and builds the image that the chart runs."""

import fnmatch
import json
import re
import shlex
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its arguments, continuation lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, from its FROM on."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def copied() -> list[str]:
    """What COPY takes from this directory."""
    words = [shlex.split(rest) for name, rest in instructions() if name in ("COPY", "ADD")]
    return [source for each in words if not each[0].startswith("--from") for source in each[:-1]]


def in_build_context(path: str) -> bool:
    """Whether .dockerignore lets a top-level path through; the last pattern that fits decides."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    included = True
    for pattern in patterns:
        if fnmatch.fnmatch(path, pattern.removeprefix("!")):
            included = pattern.startswith("!")
    return included


def test_names_only_files_that_exist() -> None:
    """Every source of a COPY is there, and .dockerignore lets it through."""
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert in_build_context(source), f"{source} is ignored"
    assert not in_build_context(".git")
    assert not in_build_context(".demo")


def test_copies_what_the_wheel_is_made_from() -> None:
    """Packages, readme and licence that pyproject.toml names are all in the build stage."""
    packages = [name.rstrip("*") for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
    needed = {*packages, PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    assert needed | {"pyproject.toml", "setup.py"} <= set(copied())


def test_installs_from_the_project_itself() -> None:
    """pip gets a wheel of this source with extras that exist, never the project's name from an index."""
    (build,) = [stage for stage in stages() if "AS build" in stage[0][1]]
    commands = " ".join(rest for name, rest in build if name == "RUN")
    assert "pip wheel" in commands
    assert re.search(r"--wheel-dir /wheels \.(\s|$)", commands)
    assert '"infertap[$EXTRAS] @ file://' in commands
    (extras,) = [rest for name, rest in build if name == "ARG" and rest.startswith("EXTRAS=")]
    assert set(extras.removeprefix("EXTRAS=").split(",")) <= set(PROJECT["project"]["optional-dependencies"])


def test_compiles_only_where_asked() -> None:
    """Nothing is compiled by itself; where it is asked for, the compiler stays in the stage that builds."""
    (build,) = [stage for stage in stages() if "AS build" in stage[0][1]]
    assert ("ARG", "COMPILE=0") in build
    assert any(name == "RUN" and "INFERTAP_COMPILE=$COMPILE pip wheel" in rest for name, rest in build)
    assert not any("gcc" in rest for _, rest in stages()[-1])


def test_runs_as_a_numeric_user_that_is_not_root() -> None:
    """The last stage ends as a user that Kubernetes can tell from root."""
    users = [rest for name, rest in stages()[-1] if name == "USER"]
    assert [re.fullmatch(r"[1-9]\d*:[1-9]\d*", user) is not None for user in users] == [True]


def test_starts_the_command_of_the_project() -> None:
    """The entry point is the console script, whose argument picks the process; health is for HTTP probes."""
    last = dict(stages()[-1])
    assert json.loads(last["ENTRYPOINT"]) == list(PROJECT["project"]["scripts"])
    assert "HEALTHCHECK" not in last


def test_stages_are_separate() -> None:
    """The image is not the stage that built it, and takes from it by name."""
    assert len(stages()) == 2
    assert any(name == "COPY" and rest.startswith("--from=build") for name, rest in stages()[-1])
    assert not any(name == "RUN" and "pip" in rest for name, rest in stages()[-1])


def test_python_is_new_enough() -> None:
    """The base image's Python satisfies requires-python."""
    version = re.search(r"PYTHON=(\d+)\.(\d+)", (ROOT / "Dockerfile").read_text())
    assert version is not None
    assert (int(version[1]), int(version[2])) >= (3, 11)
    assert PROJECT["project"]["requires-python"] == ">=3.11"
