#!/usr/bin/env python3
"""One file as constants of C: `const char NAME[]`, NUL-terminated, and `const size_t NAME_len`.

    embed_text.py NAME INPUT OUTPUT
"""
import sys

BYTES_PER_LINE = 24


def main():
    name, source, target = sys.argv[1:]
    with open(source, "rb") as file:
        data = file.read()
    lines = [", ".join(str(byte) for byte in data[at:at + BYTES_PER_LINE]) for at in range(0, len(data), BYTES_PER_LINE)]
    with open(target, "w", encoding="ascii") as file:
        file.write(f"/* Made of {source.rsplit('/', 1)[-1]} by tools/embed_text.py. */\n#include <stddef.h>\n\n"
                   f"extern const char {name}[];\nextern const size_t {name}_len;\n"
                   f"const char {name}[] = {{\n    " + ",\n    ".join(lines) + f", 0}};\nconst size_t {name}_len = {len(data)};\n")


if __name__ == "__main__":
    main()
