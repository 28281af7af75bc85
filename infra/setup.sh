#!/usr/bin/env bash
# Installs what building, running and testing Headwater needs on Debian: apt packages, npm packages
# for the player, Python packages for test peers. Idempotent, and quick when everything is there.
#
#   infra/setup.sh build   what `make demo` needs (libraries of FFmpeg and SRT, the player's npm packages)
#   infra/setup.sh test    everything above, and the peers and readers the tests use
#   infra/setup.sh nginx | varnish   that edge, for `make demo CDN=…`
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-build}

build_packages=(build-essential pkg-config clang libclang-dev
  libavcodec-dev libavformat-dev libavutil-dev libavfilter-dev libswscale-dev libswresample-dev
  libsrt-gnutls-dev)
test_packages=(ffmpeg chromium libxml2-utils nginx libnginx-mod-rtmp varnish hitch curl python3-venv
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
  srt-tools obs-studio libgl1-mesa-dri xvfb xauth prometheus)

say() { printf 'setup: %s\n' "$*" >&2; }

root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# Servers from Debian start themselves when installed, which a policy prevents: the tests start their
# own on free ports.
policy=/usr/sbin/policy-rc.d

# Installs the named Debian packages that are not there yet.
apt_install() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "installing ${missing[*]}"
  if [ ! -e "$policy" ]; then
    trap 'root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | root tee "$policy" >/dev/null
    root chmod +x "$policy"
  fi
  root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The oldest package of libsrt with CVE-2026-55868 and CVE-2026-55869 mended, which anybody can use who
# reaches the port. The library's own version is the same with them and without.
mended_libsrt=1.5.1-1+deb12u2

# Upgrades libsrt if it has these holes; fails where there is no other.
require_mended_libsrt() {
  local package=libsrt1.5-gnutls version
  version=$(dpkg-query -W -f='${Version}' "$package")
  if dpkg --compare-versions "$version" lt "$mended_libsrt"; then
    say "upgrading $package $version, which has known holes"
    root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --only-upgrade "$package" >/dev/null
    version=$(dpkg-query -W -f='${Version}' "$package")
  fi
  if dpkg --compare-versions "$version" lt "$mended_libsrt"; then
    say "$package $version has known holes (CVE-2026-55868, CVE-2026-55869) and $mended_libsrt is not to"
    say "be had: add Debian's security archive to the sources of apt"
    exit 1
  fi
}

# Installs locked npm packages in a folder, once per lock file.
npm_install() {
  local dir=$1 stamp
  stamp="$dir/node_modules/.headwater-$(sha256sum "$dir/package-lock.json" | cut -c1-16)"
  [ -e "$stamp" ] && return 0
  say "installing npm packages of $dir"
  (cd "$dir" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
  touch "$stamp"
}

case $what in
  build | test) ;;
  nginx | varnish) apt_install "$what"; exit ;;
  *) say "no such thing to set up: $what"; exit 2 ;;
esac

apt_install "${build_packages[@]}"
require_mended_libsrt
npm_install player-demo

if [ "$what" = test ]; then
  apt_install "${test_packages[@]}"
  npm_install tests/browser
  python=target/python
  stamp="$python/.headwater-$(sha256sum tests/requirements.txt | cut -c1-16)"
  if [ ! -e "$stamp" ]; then
    say "installing Python packages of tests/requirements.txt"
    python3 -m venv "$python"
    "$python/bin/pip" install -q --disable-pip-version-check -r tests/requirements.txt
    touch "$stamp"
  fi
fi
