#!/usr/bin/env bash
# Renews the pins after a change of pyproject.toml: constraints.txt (every extra, versions only; its heading stays) and
# requirements.lock (the package without extras, with hashes). Needs uv (https://docs.astral.sh/uv/).
# Versions that are pinned already stay where they still fit; `scripts/lock.sh --upgrade` takes the newest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

UV=(uv pip compile pyproject.toml --universal --python-version 3.10 --quiet --no-annotate --no-header)
heading=$(sed '/^[^#]/,$d' constraints.txt)
pins=$(mktemp)
trap 'rm -f "$pins"' EXIT

if [[ ${1:-} != --upgrade ]]; then cp constraints.txt "$pins"; fi
# ogbench is an extra below Python 3.13 only; what CUDA needs is pinned by torch itself.
"${UV[@]}" --all-extras --output-file "$pins"
{
  printf '%s\n' "$heading"
  grep -vE '^(nvidia-|cuda-|triton)' "$pins"
} >constraints.txt

"${UV[@]}" --generate-hashes --constraints constraints.txt --upgrade --output-file "$pins"
{
  echo "# Made by scripts/lock.sh. pip install --require-hashes -r requirements.lock && pip install --no-deps ."
  cat "$pins"
} >requirements.lock
