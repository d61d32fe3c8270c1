#!/usr/bin/env python3
"""Which folder of src/ may include which: docs/ARCHITECTURE.md's table, kept true.

    tests/include_direction.py [SRC]     status 1 and a line "# FILE:LINE: SENTENCE" for each include that is not

Arrows point down only, stages do not know one another, and the headers of a library are seen by one folder, so that
a library can be replaced, and a stage tested, without the rest. Before it looks at the tree the script proves on
a small tree of its own that it finds every kind of mistake.

A unit is a folder of src/, or a folder in it that has an entry of its own below (store/embedded). A file may include
headers of its own unit and of those its unit lists. A unit in another (store/embedded in store) may also include what
the outer one may; the outer one does not see the inner one's headers, nor do two inner ones see each other's.
"""

import pathlib
import re
import sys
import tempfile

STAGES = {"fetch", "image", "cage", "embed", "filter", "store"}
EVERYTHING = {"auth", "base", "json", "kernel", "http", "learn", "index", "pipeline", "api", "server", "cli", "web"} | STAGES

MAY_INCLUDE = {
    "base": set(),
    "json": {"base"},
    "auth": {"base", "json"},
    "kernel": {"base"},
    "http": {"base"},
    "fetch": {"base"},
    "image": {"base"},
    "cage": {"base", "image"},
    "embed": {"base", "json", "image"},
    "embed/openvino": {"embed"},
    "embed/onnxruntime": {"embed"},
    "filter": {"base", "json"},  # json: `brief` is a JSON document
    "learn": {"base", "kernel"},
    "index": {"base", "kernel"},
    "store": {"base", "filter", "json", "kernel"},  # json: migrate compares tags and brief as values
    "store/embedded": {"store", "index", "learn"},
    "store/memory": {"store", "json"},
    "store/milvus": {"store", "json"},
    "pipeline": {"base", "json"} | STAGES,  # json: the lines of an export
    "api": {"auth", "base", "json", "http", "pipeline", "web"},
    "server": EVERYTHING,
    "cli": EVERYTHING,
}

# Headers with a first sentence that says who may include them.
PRIVATE = {
    "api/route.h": "api",
    "auth/internal.h": "auth",
    "cage/protocol.h": "cage",
    "embed/embed_backend.h": "embed",
    "http/internal.h": "http",
    "pipeline/batcher.h": "pipeline",
    "pipeline/internal.h": "pipeline",
    "store/store_backend.h": "store",
}

JSON_USERS = {"json"} | {unit for unit, others in MAY_INCLUDE.items() if "json" in others}

# The start of a library's headers, and the units that see them: one, unless there is a reason.
VENDORS = {
    "vips/": {"image"},
    "glib": {"image"},
    "jpeglib.h": {"image"},
    "curl/": {"fetch"},
    "microhttpd.h": {"http"},
    "gnutls/": {"http"},
    "json-c/": JSON_USERS,  # json/json.h hands out json-c's objects, so its users may name them
    "openvino/": {"embed/openvino"},
    "onnxruntime": {"embed/onnxruntime"},
    "openssl/": {"auth", "embed"},  # SHA-256 of keys; of model files
    "sqlite3.h": {"store/embedded", "store/milvus"},  # milvus: thumbnails, which are local
    "xxhash.h": {"store/embedded", "cli"},  # checksums of slots; stable fileids of an import
    "grpc": {"store/milvus"},
    "protobuf-c/": {"store/milvus"},
    "roaring/": {"filter"},
    "cblas.h": {"learn"},
    "lapacke.h": {"learn"},
    "seccomp.h": {"cage"},
    # Not a library, but as bound to one place: instructions of one CPU.
    "immintrin.h": {"kernel", "image"},  # image: scale.c, sums over pixels and not over vectors
    "emmintrin.h": {"filter"},  # probe.h: which of sixteen bytes of a text are one
    "arm_neon.h": {"kernel"},
}

C_LIBRARY = re.compile(r"""^(
    (sys|netinet|arpa|net|linux|asm)/[\w/]+ | aio | assert | cpuid | ctype | dirent | dlfcn | endian | errno | fcntl | fenv
    | float | fnmatch | ftw | getopt | glob | grp | ifaddrs | inttypes | iso646 | langinfo | libgen | limits | locale
    | malloc | math | memory | netdb | poll | pthread | pwd | regex | sched | semaphore | setjmp | signal | spawn
    | stdalign | stdarg | stdatomic | stdbool | stddef | stdint | stdio | stdlib | stdnoreturn | string | strings | syslog
    | tgmath | termios | time | uchar | ucontext | unistd | utime | wchar | wctype
)\.h$""", re.VERBOSE)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def unit_of(path):
    """The unit that a path relative to src/ lies in; None for a folder without an entry."""
    folders = path.split("/")[:-1]
    for depth in range(len(folders), 0, -1):
        unit = "/".join(folders[:depth])
        if unit in MAY_INCLUDE:
            return unit
    return None


def reach(unit):
    """All units whose headers a file of `unit` may include."""
    outer = unit.split("/")[0]
    return MAY_INCLUDE[unit] | MAY_INCLUDE[outer] | {unit, outer}


def wrong_library(unit, header):
    """The sentence about <header> in `unit`, or None."""
    for start, owners in VENDORS.items():
        if header.startswith(start):
            if unit in owners or unit.split("/")[0] in owners:
                return None
            return f"<{header}> belongs to {', '.join(sorted(owners))} alone, and {unit}/ must not see it"
    if C_LIBRARY.match(header):
        return None
    return f"<{header}> is neither the C library's nor in VENDORS of tests/include_direction.py, which says who may see it"


def wrong_header(source, unit, header):
    """The sentence about "header" in `unit`, or None. `source` is src/."""
    if header == "web/web.h":
        return None if "web" in reach(unit) else f'{unit}/ must not include "{header}"'
    generated = header.endswith(".pb-c.h") and (source / (header[: -len(".pb-c.h")] + ".proto")).is_file()
    if "/" not in header or ".." in header or not (generated or (source / header).is_file()):
        return f'"{header}" is no path from src/: write "folder/file.h"'
    target = unit_of(header)
    if target not in reach(unit):
        allowed = ", ".join(sorted(reach(unit) - {unit}))
        return f'{unit}/ must not include "{header}"; it may include {allowed or "nothing but its own headers"}'
    owner = PRIVATE.get(header)
    if owner and unit.split("/")[0] != owner:
        return f'"{header}" is for {owner}/ alone'
    return None


def check(source):
    """Sentences "FILE:LINE: …" about the tree `source`, and the number of includes looked at."""
    wrong, count = [], 0
    for path in sorted(source.rglob("*.[ch]")):
        relative = path.relative_to(source).as_posix()
        unit = unit_of(relative)
        if unit is None:
            wrong.append(f"{path}:1: this folder has no entry in MAY_INCLUDE of tests/include_direction.py")
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                count += 1
                kind, header = match.groups()
                sentence = wrong_library(unit, header) if kind == "<" else wrong_header(source, unit, header)
                if sentence:
                    wrong.append(f"{path}:{number}: {sentence}")
    return wrong, count


# --- the proof that it can fail ---------------------------------------------------------------------------------

GOOD = {
    "base/err.h": "#include <stdarg.h>\n",
    "json/json.h": '#include "base/err.h"\n#include <json-c/json.h>\n',
    "image/image.h": '#include "base/err.h"\n',
    "image/image.c": '#include "image/image.h"\n# include <vips/vips.h>\n',
    "embed/embed.h": '#include "image/image.h"\n#include "json/json.h"\n',
    "embed/embed_backend.h": '#include "embed/embed.h"\n',
    "embed/openvino/openvino.c": '#include "embed/embed_backend.h"\n#include "base/err.h"\n#include <openvino/c/openvino.h>\n',
    "index/index.h": '#include "base/err.h"\n',
    "store/store.h": '#include "base/err.h"\n',
    "store/store_backend.h": '#include "store/store.h"\n',
    "store/embedded/slots.h": '#include "store/store_backend.h"\n#include "index/index.h"\n#include <sqlite3.h>\n',
    "store/memory/memory.c": '#include "store/store_backend.h"\n',
    "http/http.h": '#include "base/err.h"\n#include <microhttpd.h>\n#include <sys/socket.h>\n',
    "pipeline/pipeline.h": '#include "embed/embed.h"\n#include "store/store.h"\n',
    "api/api.c": '#include "http/http.h"\n#include "json/json.h"\n#include "pipeline/pipeline.h"\n#include "web/web.h"\n',
    "server/serve.c": '#include "pipeline/pipeline.h"\n',
}

# Each line, added to its file, must be found, at its line.
BAD = [
    ("base/err.h", '#include "http/http.h"'),
    ("http/http.h", '#include "image/image.h"'),
    ("image/image.c", '#include "http/http.h"'),
    ("embed/embed.h", '#include "store/store.h"'),
    ("store/store.h", '#include "index/index.h"'),
    ("store/store.h", '#include "store/embedded/slots.h"'),
    ("store/memory/memory.c", '#include "store/embedded/slots.h"'),
    ("store/memory/memory.c", '#include "index/index.h"'),
    ("pipeline/pipeline.h", '#include "api/api.h"'),
    ("pipeline/pipeline.h", '#include "http/http.h"'),
    ("pipeline/pipeline.h", '#include "store/store_backend.h"'),
    ("pipeline/pipeline.h", '#include "web/web.h"'),
    ("api/api.c", '#include "store/store.h"'),
    ("server/serve.c", '#include "embed/embed_backend.h"'),
    ("server/serve.c", '#include "store/embedded/slots.h"'),
    ("kernel/kernel.h", "#include <json-c/json.h>"),
    ("http/http.h", "  #  include  <curl/curl.h>"),
    ("store/store.h", "#include <sqlite3.h>"),
    ("embed/embed.h", "#include <openvino/c/openvino.h>"),
    ("base/err.h", "#include <unheard_of.h>"),
    ("image/image.c", '#include "image.h"'),
    ("image/image.c", '#include "image/missing.h"'),
    ("image/image.c", '#include "../base/err.h"'),
    ("stranger/stranger.c", "#include <stdio.h>"),
]


def write_tree(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def found(extra):
    """What check() says about the good tree with (file, line) added to it."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_tree(folder, {**GOOD, "api/api.h": ""})
        if extra:
            file, line = extra
            write_tree(folder, {file: GOOD.get(file, "") + line + "\n"})
        return [sentence[len(name) + 1 :] for sentence in check(folder)[0]]


def prove():
    problems = [f"the good tree is refused: {sentence}" for sentence in found(None)]
    for file, line in BAD:
        number = GOOD.get(file, "").count("\n") + 1
        sentences = found((file, line))
        if len(sentences) != 1 or not sentences[0].startswith(f"{file}:{number}: "):
            problems.append(f"{line} in {file} is not found: {sentences}")
    return problems


def tap(number, problems, name):
    """One line of the Test Anything Protocol, the problems before it."""
    print("".join(f"# {problem}\n" for problem in problems) + ("not " if problems else "") + f"ok {number} - {name}")


def main():
    source = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "src").resolve()
    print("1..2")
    unproven = prove()
    tap(1, unproven, f"{len(BAD)} wrong includes are found in a trial tree")
    wrong, count = check(source)
    if count == 0:
        wrong = [f"there is nothing to check in {source}"]
    tap(2, wrong, f"{count} includes of the tree point in the right direction")
    sys.exit(1 if unproven or wrong else 0)


if __name__ == "__main__":
    main()
