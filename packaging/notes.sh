#!/usr/bin/env bash
# Prints the section of CHANGELOG.md about a version: packaging/notes.sh VERSION
set -euo pipefail
cd "$(dirname "$0")/.."
# The heading may have a date after the version.
notes=$(awk -v version="$1" '
    /^## / { is_it = $2 == version; next }
    is_it && (NF || begun) { begun = 1; print }' CHANGELOG.md)
if [ -z "$notes" ]; then
    echo "error: CHANGELOG.md has no section \"## $1\", or an empty one" >&2
    exit 1
fi
echo "$notes"
