#!/usr/bin/env python3
"""Turns the files of web/ into one C source, so that the program serves its page without any file beside it.

    embed_files.py --root web --output web_files.c web/index.html web/js/main.js …

The files are named one by one because the build has to know them; one that lies in the folder with a kind we serve
and is not named is an error, so that a new file cannot be forgotten. The output depends on the content only.
web/web.h describes the table.
"""

import argparse
import hashlib
import pathlib
import sys

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
BYTES_PER_LINE = 24

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


def array(number, data):
    lines = [", ".join(f"0x{byte:02x}" for byte in data[at : at + BYTES_PER_LINE])
             for at in range(0, len(data), BYTES_PER_LINE)]
    return f"\nstatic const unsigned char file_{number}[] = {{\n    " + ",\n    ".join(lines) + "};\n"


def row(number, path, data, content_type):
    etag = hashlib.sha256(data).hexdigest()[:32]
    return (f'    {{"{path}", "{content_type}", file_{number}, sizeof(file_{number}), "\\"{etag}\\""}},\n')


def source(root, files):
    """The C text for `files`, all below `root`. ValueError names what is wrong."""
    named = {request_path(root, file): file for file in files}
    for file in sorted(root.rglob("*")):
        if file.suffix in CONTENT_TYPES and request_path(root, file) not in named:
            raise ValueError(f"{file} is not in the list of files in {root}/meson.build")
    arrays, rows = [], []
    for number, path in enumerate(sorted(named, key=lambda name: name.encode())):
        file = named[path]
        if not path.isascii() or any(character in path for character in '"\\?%'):
            raise ValueError(f"{file}: use letters, digits, '-', '_' and '.' only in the name of a served file")
        if file.suffix not in CONTENT_TYPES:
            raise ValueError(f"{file}: no content type is known for '{file.suffix}'; add it to tools/embed_files.py")
        data = file.read_bytes()
        if not data:
            raise ValueError(f"{file} is empty")
        arrays.append(array(number, data))
        rows.append(row(number, path, data, CONTENT_TYPES[file.suffix]))
    table = "\nconst struct web_file web_files[] = {\n" + "".join(rows) + "};\n"
    count = "const size_t web_file_count = sizeof(web_files) / sizeof(web_files[0]);\n"
    return HEAD + "".join(arrays) + table + count + FOOT


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
