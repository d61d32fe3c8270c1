#!/usr/bin/env python3
"""Man pages and shell completion, made of what the program itself says: the text of `lookalike COMMAND --help`.

    tools/manual.py PROGRAM FOLDER     writes lookalike.1, lookalike-COMMAND.1, lookalike.bash, _lookalike, lookalike.fish
    tools/manual.py PROGRAM --install  the same, each where it belongs below $MESON_INSTALL_DESTDIR_PREFIX

The help is the one table; nothing here names a command or a flag. A line that begins with two blanks and `--` is a flag,
one with a deeper indent goes on with the line before.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FLAG = re.compile(r"(--[a-z0-9-]+)(?: ([A-Z][^ ,]*|[a-z]+(?:\|[a-z]+)+))?(, (?=--)| +|$)")
SUMMARY = re.compile(r"^  ([a-z]+)  +(\S.*)$")


def help_of(program, *arguments):
    done = subprocess.run([program, *arguments, "--help"], capture_output=True, text=True, encoding="utf-8")
    if done.returncode != 0 or not done.stdout.startswith("usage: lookalike"):
        sys.exit(f"{program} {' '.join(arguments)} --help gives no help: {done.stdout[:80]}{done.stderr[:200]}")
    return done.stdout


def commands(program):
    """[(name, summary)] as the program lists them."""
    found = []
    for line in help_of(program).splitlines():
        match = SUMMARY.match(line)
        if match and match[1] != "help":
            found.append((match[1], match[2]))
    return found


def flag_line(line):
    """([(flag, value or "")], what they do) of a line of the help; None where it is none of a flag."""
    found, at = [], 2
    if not line.startswith("  --"):
        return None
    while match := FLAG.match(line, at):
        found.append((match[1], match[2] or ""))
        at = match.end()
        if not match[3].startswith(","):
            break
    return (found, line[at:].strip()) if found else None


def flags(text):
    """[(flag, value or "", what it does)]"""
    found, last = [], 0
    for line in text.splitlines():
        parsed = flag_line(line)
        if parsed:
            last = len(parsed[0])
            found += [[flag, value, parsed[1]] for flag, value in parsed[0]]
        elif last and re.match(r"^ {10,}\S", line):
            for entry in found[-last:]:
                entry[2] += " " + line.strip()
        else:
            last = 0
    return [tuple(f) for f in found]


# --- man pages --------------------------------------------------------------------------------------------------

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "\n".join("\\&" + line if line[:1] in ".'" else line for line in text.splitlines())


def page(name, summary, text, see):
    """A man page with the sections that the help has: usage, prose, flags, examples, exit status."""
    blocks = text.strip("\n").split("\n\n")
    usage = [line.removeprefix("usage: ").strip() for line in blocks[0].splitlines()]
    out = [f'.TH "{name.upper()}" 1 "" "lookalike" "User Commands"', ".SH NAME", f"{roff(name)} \\- {roff(summary)}",
           ".SH SYNOPSIS", ".nf", *[roff(line) for line in usage], ".fi", ".SH DESCRIPTION"]
    listed = False
    for block in blocks[1:]:
        first = block.splitlines()[0]
        if first.startswith("examples:") or first.startswith("To begin with:"):
            out += [".SH EXAMPLES", ".nf", *[roff(line.strip()) for line in block.splitlines()[1:]], ".fi"]
        elif first.startswith("Exit status:"):
            out += [".SH EXIT STATUS", roff(" ".join(block.split())[len("Exit status: "):])]
        elif first.startswith("  "):
            if any(line.startswith("  --") for line in block.splitlines()) and not listed:
                out.append(".SH OPTIONS")
                listed = True
            for line in block.splitlines():
                parsed, match = flag_line(line), re.match(r"^  (\S+)  +(.*)$", line)
                if parsed:
                    words = [f"\\fB{roff(flag)}\\fR {roff(value)}".rstrip() for flag, value in parsed[0]]
                    out += [".TP", ", ".join(words), roff(parsed[1])]
                elif match:
                    out += [".TP", f"\\fB{roff(match[1])}\\fR", roff(match[2])]
                else:
                    out.append(roff(line.strip()))
        else:
            out += ([] if out[-1].startswith(".SH") else [".PP"]) + [roff(line.strip()) for line in block.splitlines()]
    out += [".SH SEE ALSO", ",\n".join(f".BR {roff(other)} (1)" for other in see).replace(",\n", "\n")]
    return "\n".join(line for line in out if line.strip()) + "\n"


# --- completion -------------------------------------------------------------------------------------------------

def is_path(value):
    return any(word in value for word in ("DIR", "FILE", "PATH", "IMAGE"))


def bash(table):
    words = " ".join(name for name, _, _ in table)
    out = ["# bash completion of lookalike; made by tools/manual.py", "_lookalike() {", '    local cur prev flags words_=""',
           '    cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}', "    COMPREPLY=()",
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then",
           f'        mapfile -t COMPREPLY < <(compgen -W "{words} help --help --version" -- "$cur")', "        return", "    fi",
           "    case ${COMP_WORDS[1]} in"]
    for name, _, options in table:
        out.append(f'    {name}) flags="{" ".join(sorted({f for f, _, _ in options}))}" ;;')
    out += [f'    help) words_="{words}" flags="" ;;', '    *) flags="" ;;', "    esac", '    case $prev in']
    paths = sorted({f for _, _, options in table for f, value, _ in options if is_path(value)})
    values = sorted({f for _, _, options in table for f, value, _ in options if value} - set(paths))
    out += [f"    {'|'.join(paths)}) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;",
            f"    {'|'.join(values)}) return ;;", "    esac", "    case $cur in",
            '    -*) mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur") ;;',
            '    *) mapfile -t COMPREPLY < <(compgen -W "$words_" -- "$cur"; compgen -f -- "$cur") ;;', "    esac", "}",
            "complete -o filenames -F _lookalike lookalike"]
    return "\n".join(out) + "\n"


def zsh_text(text):
    return text.replace("'", "’").replace("[", "(").replace("]", ")").replace(":", "\\:").replace("`", "")


def zsh(table):
    out = ["#compdef lookalike", "# made by tools/manual.py", "_lookalike() {", "    local -a commands", "    commands=("]
    out += [f"        '{name}:{zsh_text(summary)}'" for name, summary, _ in table]
    out += ["        'help:the help of a command'", "    )", "    if (( CURRENT == 2 )); then", "        _describe command commands",
            "        return", "    fi", "    case ${words[2]} in"]
    for name, _, options in table:
        out.append(f"    {name})")
        out.append("        _arguments \\")
        for flag, value, text in options:
            action = "" if not value else f":{zsh_text(value)}:{'_files' if is_path(value) else ' '}"
            out.append(f"            '*{flag}[{zsh_text(text)}]{action}' \\")
        out += ["            '*:argument:_files'", "        ;;"]
    out += ["    help) _describe command commands ;;", "    esac", "}", '_lookalike "$@"']
    return "\n".join(out) + "\n"


def fish_text(text):
    return text.replace("\\", "\\\\").replace("'", "\\'")


def fish(table):
    out = ["# fish completion of lookalike; made by tools/manual.py",
           "complete -c lookalike -n __fish_use_subcommand -f -a help -d 'the help of a command'"]
    for name, summary, options in table:
        out.append(f"complete -c lookalike -n __fish_use_subcommand -f -a {name} -d '{fish_text(summary)}'")
        for flag, value, text in options:
            how = "" if not value else " -r -F" if is_path(value) else " -x"
            out.append(f"complete -c lookalike -n '__fish_seen_subcommand_from {name}' -l {flag[2:]}{how} -d '{fish_text(text)}'")
    return "\n".join(out) + "\n"


def write(program, folder):
    listed = commands(program)
    table, pages = [], ["lookalike"] + [f"lookalike-{name}" for name, _ in listed]
    for name, summary in listed:
        text = help_of(program, name)
        table.append((name, summary, flags(text)))
        (folder / f"lookalike-{name}.1").write_text(page(f"lookalike-{name}", summary, text, ["lookalike"]), encoding="utf-8")
    (folder / "lookalike.1").write_text(page("lookalike", "find similar pictures", help_of(program), pages[1:]), encoding="utf-8")
    (folder / "lookalike.bash").write_text(bash(table), encoding="utf-8")
    (folder / "_lookalike").write_text(zsh(table), encoding="utf-8")
    (folder / "lookalike.fish").write_text(fish(table), encoding="utf-8")


def install(program):
    share = pathlib.Path(os.environ["MESON_INSTALL_DESTDIR_PREFIX"]) / "share"
    places = {"lookalike.bash": "bash-completion/completions/lookalike", "_lookalike": "zsh/site-functions/_lookalike",
              "lookalike.fish": "fish/vendor_completions.d/lookalike.fish"}
    with tempfile.TemporaryDirectory() as name:
        write(program, pathlib.Path(name))
        for file in sorted(pathlib.Path(name).iterdir()):
            to = share / places.get(file.name, f"man/man1/{file.name}")
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)
            to.chmod(0o644)


def main():
    if sys.argv[2] == "--install":
        install(sys.argv[1])
    else:
        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        write(sys.argv[1], folder)


if __name__ == "__main__":
    main()
