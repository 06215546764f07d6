#!/usr/bin/env bash
# Sets up .venv for this checkout (`make setup`); `scripts/setup.sh extras` adds every optional package that can be built
# here and writes their names to .venv/extras, which `make test` requires; `scripts/setup.sh docs` adds what builds the site.
# Reads PYTHON (the Python to use), PIP_ARGS (more options for pip) and pip's own settings.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
LOG=$VENV/setup.log
GL_PACKAGES="libegl1 libgl1"
CPU_INDEX=https://download.pytorch.org/whl/cpu

say() { printf '%s\n' "$*"; }

die() {
  say "setup: $*" >&2
  exit 1
}

can_apt() { [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; }

# apt_install PACKAGE...: quiet; fails with apt's last words.
apt_install() {
  local out
  out=$({ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } 2>&1) ||
    { tail -n 5 <<<"$out" && return 1; }
}

# The newest one is where torch's pin ends.
is_supported() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
    if is_supported "$candidate"; then
      say "$candidate"
      return
    fi
  done
  return 1
}

create_venv() {
  local python package out
  if is_supported "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    return
  fi
  python=$(find_python) || die "Python 3.10 to 3.14 is needed, and ${PYTHON:-python3} is not one:" \
    "install it, or name it with 'make setup PYTHON=/path/to/python3'."
  package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    can_apt || die "Python's venv module is missing: run 'sudo apt-get install -y $package', then this again."
    say "Python's venv module is missing: installing $package with apt-get"
    apt_install "$package" || die "apt-get could not install $package (see above)."
  fi
  out=$("$python" -m venv --clear "$VENV" 2>&1) || die "'$python -m venv $VENV' failed: $out"
}

has_nvidia() { [[ -e /proc/driver/nvidia ]] || command -v nvidia-smi >/dev/null; }

# Names PyTorch's CPU index where the default wheel would bring several GB of CUDA for nothing.
choose_index() {
  INDEX_ARGS=()
  [[ ${TORCH:-cpu} =~ ^(cpu|cuda)$ ]] || die "TORCH is '$TORCH': expected cpu or cuda."
  if [[ $(uname -s) != Linux || -n ${PIP_ARGS:-} || ${TORCH:-} == cuda ]]; then return; fi
  if [[ -z ${TORCH:-} ]] && has_nvidia; then return; fi
  if [[ $("$VENV/bin/python" -m pip config list) =~ find-links|no-index ]]; then return; fi
  if timeout 5 "$VENV/bin/python" - "$CPU_INDEX/torch/" 2>/dev/null <<<'
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"), timeout=3)'; then
    say "No NVIDIA driver here: torch comes from $CPU_INDEX (smaller by several GB)"
    INDEX_ARGS=(--extra-index-url "$CPU_INDEX")
  else
    say "No NVIDIA driver here, but $CPU_INDEX cannot be reached: pip takes its default torch (may be several GB)"
  fi
}

# Keeps pip's lines in the log; on a terminal the newest one is shown.
show_progress() {
  local line
  while IFS= read -r line; do
    printf '%s\n' "$line" >>"$LOG"
    if [[ -t 1 ]]; then printf '\r\033[K%4d s  %.70s' "$SECONDS" "$line"; fi
  done
  if [[ -t 1 ]]; then printf '\r\033[K'; fi
}

# pip_install ARGUMENT...: with the pins, the index and PIP_ARGS.
pip_install() {
  # shellcheck disable=SC2086  # PIP_ARGS is a list of words
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --progress-bar off -c constraints.txt \
    ${INDEX_ARGS[@]+"${INDEX_ARGS[@]}"} ${PIP_ARGS:-} "$@" 2>&1 | show_progress
}

fail_pip() {
  tail -n 20 "$LOG" >&2
  die "pip failed; its last lines are above, the whole log is in $LOG."
}

# can_render PYTHON: true if MuJoCo gets an OpenGL context on this machine.
can_render() {
  local backend
  for backend in egl osmesa; do
    if MUJOCO_GL=$backend "$1" -c 'import mujoco; mujoco.GLContext(16, 16)' >/dev/null 2>&1; then return; fi
  done
  return 1
}

# setup_gl PYTHON: installs the OpenGL libraries, or says how; never fails, for only pictures and videos need them.
setup_gl() {
  local line="apt-get install -y $GL_PACKAGES"
  if [[ $(uname -s) != Linux ]] || can_render "$1"; then return; fi
  if can_apt; then
    say "OpenGL libraries for videos are missing: installing $GL_PACKAGES with apt-get"
    # shellcheck disable=SC2086  # two packages
    apt_install $GL_PACKAGES || say "apt-get could not install them (see above)"
    if can_render "$1"; then return; fi
    say "Videos cannot be drawn on this machine: MuJoCo gets no OpenGL context. Everything else works."
  else
    say "Videos cannot be drawn yet: run 'sudo $line'. Everything else works."
  fi
}

setup() {
  create_venv
  : >"$LOG"
  choose_index
  say "Installing the package and its dependencies into $VENV (a few minutes the first time)"
  pip_install -e '.[test]' || fail_pip
  setup_gl "$VENV/bin/python"
  say "Set up in $SECONDS s"
}

# has_compiler: true if native extensions can be built; installs g++ and make where apt-get may be used.
has_compiler() {
  local tool missing=()
  for tool in g++ make; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [[ ${#missing[@]} == 0 ]]; then return; fi
  if can_apt; then
    say "Installing ${missing[*]} with apt-get, to build robosuite's and robomimic's native extensions"
    apt_install "${missing[@]}" && return
  fi
  say "${missing[*]} missing: robosuite and robomimic are left out, and their tests are skipped" \
    "(run 'sudo apt-get install -y g++ make', then this again)"
  return 1
}

# available_extras: the optional packages that can be installed on this Python and machine.
available_extras() {
  EXTRAS=(client cluster lerobot makers metaworld notebooks onnx serve track view vision yaml zarr)
  # ogbench's dm_control needs labmaze, which has no wheels from Python 3.13 on and needs Bazel to build.
  if "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then EXTRAS+=(ogbench); fi
  if has_compiler; then EXTRAS+=(robosuite robomimic); fi
}

# setup_extras: fails where a package that should install here does not.
setup_extras() {
  local names
  rm -f "$VENV/extras"
  available_extras
  choose_index
  names=$(IFS=,; echo "${EXTRAS[*]}")
  say "Installing the optional packages: ${EXTRAS[*]}"
  if [[ " ${EXTRAS[*]} " == *" robomimic "* ]]; then
    # egl_probe, a dependency of robomimic, is built with a cmake older than 4. PATH gets the real program's folder,
    # because the script in .venv/bin does not work inside pip's isolated build.
    pip_install 'cmake<4' || fail_pip
    PATH="$("$VENV/bin/python" -c 'import cmake; print(cmake.CMAKE_BIN_DIR)'):$PATH"
  fi
  pip_install -e ".[test,$names]" || fail_pip
  # A torchvision that was built for another torch cannot be imported; it is not required then.
  if ! "$VENV/bin/python" -c 'import torchvision' 2>/dev/null; then
    say "torchvision was built for another torch than the one installed: what needs its operators is not tested"
    EXTRAS=("${EXTRAS[@]/#vision/}")
  fi
  printf '%s\n' "${EXTRAS[*]}" >"$VENV/extras"
  say "Optional packages installed in $SECONDS s"
}

setup_docs() {
  choose_index
  say "Installing what builds the documentation"
  pip_install -e ".[docs]" || fail_pip
}

# setup_container: as root, on a Debian or Ubuntu that has nothing but apt-get.
setup_container() {
  can_apt || die "a container is set up by root, where there is apt-get."
  # shellcheck disable=SC2086  # two packages
  apt_install ca-certificates python3 python3-venv $GL_PACKAGES || die "apt-get could not install Python (see above)."
  create_venv
  : >"$LOG"
  choose_index
  say "Installing the package and Ray into $VENV"
  pip_install --no-cache-dir -e '.[cluster]' || fail_pip
  say "Set up in $SECONDS s"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  case ${1:-} in
    "") setup ;;
    extras) setup_extras ;;
    docs) setup_docs ;;
    container) setup_container ;;
    *) die "unknown argument '$1': expected none, 'extras', 'docs' or 'container'" ;;
  esac
fi
