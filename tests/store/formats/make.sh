#!/bin/sh
# Keep the store's format of today for the tests of later versions. Run once for each release, and commit the file.
# Use: tests/store/formats/make.sh NAME [BUILD]       makes tests/store/formats/NAME.tar.gz
set -eu
name=$1 build=${2:-build} folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$build/tests/store/make_format" "$folder/data"
rm -f "$folder/data/LOCK"
tar -C "$folder" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - data | gzip -9n >"tests/store/formats/$name.tar.gz"
ls -l "tests/store/formats/$name.tar.gz"
