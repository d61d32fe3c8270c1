#!/bin/sh
# The name that users of the Python service know: sets up what is missing, then serves. Flags go to `lookalike serve`.
cd "$(dirname "$0")" && exec ./scripts/run "$@"
