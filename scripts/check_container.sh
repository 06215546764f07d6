#!/usr/bin/env bash
# Runs the steps of the Dockerfile in a bare Debian made by debootstrap, then collects, trains and evaluates a small run
# there, on one machine and through Ray. As root; needs debootstrap (`apt-get install debootstrap`) and some 3 GB.
#   scripts/check_container.sh                    for CPUs
#   scripts/check_container.sh cuda               for NVIDIA GPUs
#   ROOT=/srv/bare                                keep the bare Debian there, and take it from there if it is there
#   BIND="/srv/wheels /etc/pip.conf"              show these files and folders of this machine to the steps, to read only
# pip's settings in the environment (PIP_...) hold for the steps too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TORCH=${1:-cpu}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SMALL_RUN='
set -e
dtql-robot collect FetchReach-v4 --episodes 8 --out /tmp/reach.hdf5
dtql-robot train --data /tmp/reach.hdf5 --out /tmp/reach --steps 50 --batch-size 64
dtql-robot eval /tmp/reach --episodes 4 --workers 2
dtql-robot eval /tmp/reach --episodes 4 --cluster local
'

die() {
  printf 'check_container: %s\n' "$*" >&2
  exit 1
}

# inside COMMAND: a shell in the new root, in the folder and with the variables that the Dockerfile has set so far.
inside() { chroot "$WORK" /usr/bin/env -i HOME=/root "${VARIABLES[@]}" /bin/sh -c "cd '$FOLDER' && $1"; }

mount_into() {
  local path
  mount -t proc proc "$WORK/proc"
  mount --rbind /dev "$WORK/dev"
  mount --make-rslave "$WORK/dev"
  cp /etc/resolv.conf "$WORK/etc/resolv.conf"
  for path in ${BIND:-}; do
    if [[ -d $path ]]; then mkdir -p "$WORK$path"; else install -D /dev/null "$WORK$path"; fi
    mount --bind "$path" "$WORK$path"
    mount -o remount,bind,ro "$WORK$path" # a step that writes there would change this machine
  done
}

clean_up() {
  local path
  for path in ${BIND:-} /dev /proc; do
    umount --recursive --lazy "$WORK$path" 2>/dev/null || true
  done
  rm -rf --one-file-system "$WORK"
}

# run_step INSTRUCTION REST: one line of the Dockerfile. Those that are not used there are errors here.
run_step() {
  case $1 in
    FROM)
      SUITE=${2#debian:}
      [[ $2 == debian:* ]] || die "FROM $2: expected debian:SUITE."
      local bare=${ROOT:-$WORK.bare}
      [[ -e $bare/bin/sh ]] || debootstrap --variant=minbase "$SUITE" "$bare" "$MIRROR"
      cp -a "$bare/." "$WORK"
      [[ -n ${ROOT:-} ]] || rm -rf "$bare"
      mount_into
      ;;
    ARG) [[ $2 == TORCH=* ]] && VARIABLES+=("TORCH=$TORCH") ;;
    ENV) VARIABLES+=("$2") ;;
    WORKDIR) FOLDER=$2 && mkdir -p "$WORK$FOLDER" ;;
    COPY)
      [[ $2 == ". ." ]] || die "COPY $2: expected '. .'."
      git ls-files -z | xargs -0 cp -P --parents -t "$WORK$FOLDER"
      ;;
    RUN) inside "$2" ;;
    CMD) ;;
    *) die "the Dockerfile has a step that this script does not know: $1" ;;
  esac
}

[[ $(id -u) == 0 ]] || die "run it as root: it makes a root folder and mounts into it."
command -v debootstrap >/dev/null || [[ -e ${ROOT:-}/bin/sh ]] || die "needs debootstrap: apt-get install debootstrap."
WORK=$(mktemp -d)
chmod 755 "$WORK"
FOLDER=/
VARIABLES=(PATH=/usr/sbin:/usr/bin:/sbin:/bin)
while IFS= read -r variable; do VARIABLES+=("$variable"); done < <(env | grep -E '^(PIP_|https?_proxy=|no_proxy=)' || true)
trap clean_up EXIT
while read -r instruction rest; do
  if [[ -z $instruction || $instruction == \#* ]]; then continue; fi
  printf '== %s %s\n' "$instruction" "$rest"
  run_step "$instruction" "$rest" </dev/null
done <Dockerfile
printf '== a small run\n'
inside "$SMALL_RUN" </dev/null
printf '== the steps of the Dockerfile work, for %s\n' "$TORCH"
