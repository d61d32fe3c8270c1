#!/usr/bin/env python3
"""Turns the files of web/ into one C source, so that the program serves its page without any file beside it.

    embed_files.py --root web --output web_files.c web/index.html web/js/main.js …

The files are named one by one because the build has to know them; one that lies in the folder with a kind we serve
and is not named is an error, so that a new file cannot be forgotten. The output depends on the content only.
web/web.h describes the table.

Two things are done to the files. In index.html, the styles that say `data-inline` become one <style>, and the script that
says it a <script>: what is painted first then waits for one file. The policy names both by their hash. And every file
that gzip makes smaller is there compressed as well.
"""

import argparse
import base64
import gzip
import hashlib
import pathlib
import re
import sys

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
BYTES_PER_LINE = 24
STYLE = re.compile(r'<link rel="stylesheet" href="([^"]+)" data-inline>\n')
SCRIPT = re.compile(r'<script src="([^"]+)" data-inline></script>\n')

HEAD = """/* Made from web/ by tools/embed_files.py; web/web.h describes the table. */
#include "web/web.h"

#include <stdlib.h>
#include <string.h>
"""

FOOT = """
static int compare(const void *path, const void *file)
{
    return strcmp(path, ((const struct web_file *)file)->path);
}

const struct web_file *web_find(const char *path)
{
    return bsearch(path, web_files, web_file_count, sizeof(web_files[0]), compare);
}
"""


def request_path(root, file):
    relative = file.relative_to(root).as_posix()
    return "/" if relative == "index.html" else "/" + relative


def take_out(pattern, page, root):
    """The page without what `pattern` finds, the place of the first, and the files it names as one text."""
    found = list(pattern.finditer(page))
    if not found:
        raise ValueError(f"index.html has nothing that matches {pattern.pattern}")
    text = "".join((root / one[1].lstrip("/")).read_text(encoding="utf-8") for one in found)
    if "</s" in text.lower():
        raise ValueError("what is put into index.html must not hold '</s': it would end the element")
    place = found[0].start()
    return pattern.sub("", page), place, text


def with_inline(root, page):
    """index.html with its first styles and script inside, and the hashes of script and style for the policy."""
    page, place, style = take_out(STYLE, page, root)
    page = page[:place] + f"<style>{style}</style>\n" + page[place:]
    page, place, script = take_out(SCRIPT, page, root)
    page = page[:place] + f"<script>{script}</script>\n" + page[place:]
    hashes = ["sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return page, hashes


def array(name, data):
    lines = [", ".join(f"0x{byte:02x}" for byte in data[at : at + BYTES_PER_LINE])
             for at in range(0, len(data), BYTES_PER_LINE)]
    return f"\nstatic const unsigned char {name}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


def entry(number, path, data, content_type):
    """The arrays of one file, and its row in the table."""
    etag = hashlib.sha256(data).hexdigest()[:32]
    arrays, small = array(f"file_{number}", data), "NULL, 0"
    packed = gzip.compress(data, 9, mtime=0)
    if len(packed) < len(data):
        arrays += array(f"gzip_{number}", packed)
        small = f"gzip_{number}, sizeof(gzip_{number})"
    return arrays, f'    {{"{path}", "{content_type}", file_{number}, sizeof(file_{number}), {small}, "W/\\"{etag}\\""}},\n'


def source(root, files):
    """The C text for `files`, all below `root`. ValueError names what is wrong."""
    named = {request_path(root, file): file for file in files}
    for file in sorted(root.rglob("*")):
        if file.suffix in CONTENT_TYPES and request_path(root, file) not in named:
            raise ValueError(f"{file} is not in the list of files in {root}/meson.build")
    arrays, rows, policy = [], [], ""
    for number, path in enumerate(sorted(named, key=lambda name: name.encode())):
        file = named[path]
        if not path.isascii() or any(character in path for character in '"\\?%'):
            raise ValueError(f"{file}: use letters, digits, '-', '_' and '.' only in the name of a served file")
        if file.suffix not in CONTENT_TYPES:
            raise ValueError(f"{file}: no content type is known for '{file.suffix}'; add it to tools/embed_files.py")
        data = file.read_bytes()
        if not data:
            raise ValueError(f"{file} is empty")
        if path == "/":
            page, hashes = with_inline(root, data.decode("utf-8"))
            data = page.encode("utf-8")
            policy = '\nconst char web_csp[] = WEB_CSP("{}", "{}");\n'.format(*hashes)
        array_text, row = entry(number, path, data, CONTENT_TYPES[file.suffix])
        arrays.append(array_text)
        rows.append(row)
    table = "\nconst struct web_file web_files[] = {\n" + "".join(rows) + "};\n"
    count = "const size_t web_file_count = sizeof(web_files) / sizeof(web_files[0]);\n"
    return HEAD + "".join(arrays) + table + count + policy + FOOT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=pathlib.Path, required=True, help="the folder that is / of the page")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the C source to write")
    parser.add_argument("files", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    try:
        text = source(options.root.resolve(), [file.resolve() for file in options.files])
    except (ValueError, OSError) as error:
        sys.exit(f"embed_files: {error}")
    options.output.write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
