#!/usr/bin/env bash
# Installs what is missing to build and test spotniche; says nothing when nothing is.
# usage: launch/local/install.sh [--for build|test|tidy] [--no-python] [--with-torch]
#   --for build   without what only test.sh needs (default: test); tidy: also what its --tidy needs
#   --no-python   no .venv: tests that read our files back in Python are then skipped, loudly
#   --with-torch  PyTorch, torchvision and timm too, for the comparisons with them; those that Python already imports are
#                 taken as they are
# As root, or with sudo that asks no password, packages are installed; otherwise they are named. SPN_PYTHON names a
# Python of your own with launch/local/requirements.txt. SPN_NO_INSTALL=1 checks nothing (module systems, other Linux).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

for_what=test python=1 torch=0
while [ $# -gt 0 ]; do
  case $1 in
    --for) for_what=${2:?build, test or tidy} && shift ;;
    --no-python) python=0 ;;
    --with-torch) torch=1 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) die "unknown option $1; --help lists them" ;;
  esac
  shift
done

# missing KIND: packages of that kind that are not installed
missing() {
  awk -v kind="$1" '$1 == kind { print $2 }' launch/local/packages.txt | while read -r package; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

system_packages() {
  if ! command -v dpkg-query >/dev/null; then
    echo "No dpkg here: please see to it that these, or their like, are installed: $(awk '/^build/ { print $2 }' \
      launch/local/packages.txt | tr '\n' ' ')"
    return
  fi
  local needed nice as_root=()
  needed=$(missing build)
  [ "$for_what" = build ] || needed+=" $(missing test)"
  [ "$for_what" != tidy ] || needed+=" $(missing tidy)"
  nice=$(missing nice)
  needed=$(echo $needed)
  [ -n "$needed$nice" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
      as_root=(sudo -n env)
    elif [ -z "$needed" ]; then
      return 0
    else
      echo "These packages are missing, and installing them takes an administrator. Please ask for:" >&2
      echo >&2
      echo "  apt-get install --no-install-recommends $(echo $needed $nice)" >&2
      echo >&2
      exit 1
    fi
  else
    as_root=(env)
  fi
  local quiet=(DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
  step .logs/apt-update.log "package lists" "${as_root[@]}" "${quiet[@]}" update
  # one that only helps may be unknown here; one that is needed may not
  local known=()
  for package in $nice; do
    if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); fi
  done
  step .logs/apt-install.log "installing $(echo $needed ${known[*]+"${known[*]}"} | wc -w) packages" \
    "${as_root[@]}" "${quiet[@]}" install -y --no-install-recommends $needed ${known[*]+"${known[@]}"}
}

imports() { "$1" -c "import $2" >/dev/null 2>&1; }

python_packages() {
  local want=.venv/.made-from have="" modules="anndata, h5py, numpy, safetensors, scanpy"
  want=$(cksum <launch/local/requirements.txt)
  if [ "$SPN_PYTHON" != "$ROOT/.venv/bin/python" ]; then
    imports "$SPN_PYTHON" "$modules" || die "SPN_PYTHON=$SPN_PYTHON does not import $modules; install \
launch/local/requirements.txt there, or unset it and .venv is made"
  else
    [ ! -f .venv/.made-from ] || have=$(cat .venv/.made-from)
    if [ "$want" != "$have" ]; then
      rm -rf .venv
      step .logs/venv.log "Python environment .venv" python3 -m venv .venv
      # --no-compile: what is imported is compiled then, and that is a small part
      step .logs/pip.log "Python packages" .venv/bin/python -m pip install --quiet --no-input --no-compile \
        --disable-pip-version-check -r launch/local/requirements.txt
      echo "$want" >.venv/.made-from
    fi
  fi
  [ "$torch" = 1 ] || return 0
  if ! imports "$SPN_PYTHON" "torch, torchvision"; then
    step .logs/torch.log "PyTorch for CPU (about 1 GB)" "$SPN_PYTHON" -m pip install --quiet --no-input torch torchvision \
      --index-url https://download.pytorch.org/whl/cpu || step .logs/torch.log "PyTorch from PyPI (about 6 GB)" \
      "$SPN_PYTHON" -m pip install --quiet --no-input torch torchvision
  fi
  imports "$SPN_PYTHON" timm || step .logs/timm.log "timm" "$SPN_PYTHON" -m pip install --quiet --no-input timm
}

[ -z "${SPN_NO_INSTALL:-}" ] || exit 0
system_packages
[ "$python" = 0 ] || python_packages
