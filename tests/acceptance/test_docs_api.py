"""The examples of docs/api.md run as they stand, in both languages, and each of them succeeds."""
import re
import subprocess

import pytest

from support import SOURCE, picture


def commands(page):
    """(command, …) of the ```sh blocks, continued lines joined."""
    text = (SOURCE / "docs" / page).read_text("utf-8")
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        block = re.sub(r"^#.*\n", "", block, flags=re.M).replace("\\\n", " ").replace("|\n", "| ")
        found += block.strip().splitlines()
    return found


@pytest.mark.parametrize("page", ["api.md", "api.zh-CN.md"])
def test_the_examples_run(server, api, page, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(picture(1))
    names = f"docs_{page.count('zh')}"
    examples = commands(page)
    assert len(examples) > 18 and all("curl" in e for e in examples)
    for example in examples:
        command = example.replace("http://127.0.0.1:5000", server.url).replace("collections/shop", f"collections/{names}")
        command = command.replace("curl ", "curl -sS --noproxy '*' --fail-with-body ", 1)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{example}\n{done.stdout}{done.stderr}"
    assert (tmp_path / "thumbnail.jpg").read_bytes()[:2] == b"\xff\xd8"
    api.drop(names)


def test_both_languages_have_the_same_examples():
    assert commands("api.md") == commands("api.zh-CN.md")
