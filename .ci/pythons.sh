#!/usr/bin/env bash
# Makes an environment with the default install for each Python from 3.11 to 3.14 that is there, and in each runs and
# audits a small experiment, and the tests of what needs no extra. Usage: .ci/pythons.sh [FOLDER OF THE ENVIRONMENTS]
# VERSIONS names other versions, CONSTRAINTS another file than constraints.txt.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.venvs}
tested=()
for version in ${VERSIONS:-3.11 3.12 3.13 3.14}; do
  if ! command -v "python$version" > /dev/null; then
    echo "python$version: not here"
    continue
  fi
  "python$version" -m venv "$folder/$version"
  bin=$folder/$version/bin
  "$bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: \
    --constraint "${CONSTRAINTS:-constraints.txt}" --requirement <("$bin/python" -c '
import tomllib
print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], "pytest", "hypothesis", sep="\n")')
  "$bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
  OMP_NUM_THREADS=1 "$bin/python" -m pytest --quiet tests/test_install.py tests/judges/runs
  tested+=("$version")
done
echo "tested: ${tested[*]}"
