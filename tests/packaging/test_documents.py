"""Every link between the documents leads somewhere, and each English page has its Chinese twin with the same sections."""
import pathlib
import re

import pytest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*SOURCE.glob("*.md"), *(SOURCE / "docs").rglob("*.md")])
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
# For whoever works on the code: English only.
ENGLISH_ONLY = {"docs/ARCHITECTURE.md", "CONTRIBUTING.md"}


def text_of(page):
    """Without blocks of code, where brackets are no links and # no headings."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.S)


def name(page):
    return page.relative_to(SOURCE).as_posix()


def anchor(heading):
    words = re.sub(r"[`*]", "", heading.strip()).lower()
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", words))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    wrong = []
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, section = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists():
            wrong.append(link)
        elif section and target.suffix == ".md":
            anchors = {anchor(h) for h in re.findall(r"^#+ (.*)$", text_of(target), re.M)}
            if section not in anchors:
                wrong.append(link)
    assert not wrong, f"{name(page)}: {wrong}"


TWINS = [p for p in PAGES if not p.name.endswith(".zh-CN.md") and name(p) not in ENGLISH_ONLY and "internals" not in p.parts]


@pytest.mark.parametrize("page", TWINS, ids=name)
def test_chinese_twin(page):
    twin = page.with_name(page.stem + ".zh-CN.md")
    assert twin.exists(), f"{name(page)} has no Chinese twin"
    levels = [[len(h) for h in re.findall(r"^(#+) ", text_of(p), re.M)] for p in (page, twin)]
    assert levels[0] == levels[1], f"{name(page)} and its twin have different sections"


def test_there_are_documents():
    assert {"README.md", "docs/operations.md"} <= {name(p) for p in TWINS}
