#!/usr/bin/env bash
# Runs Headwater against a real Garage (https://garagehq.deuxfleurs.fr), the S3 store for machines of
# one's own: tries it out, sends it a minute of a channel, and has a replica serve that.
#
#   infra/garage.sh            Garage's program is $GARAGE, or `garage` in the PATH
#
# Garage is in no archive of Debian's: take the static program for your machine from its web site. The
# tests use another store (tests/src/s3.rs); this is for who wants to see Garage's answers.
set -euo pipefail
cd "$(dirname "$0")/.."

garage=${GARAGE:-$(command -v garage || true)}
headwater=${HEADWATER:-target/release/headwater}
[ -x "$garage" ] || { echo "garage.sh: no program garage: set GARAGE=…" >&2; exit 2; }
[ -x "$headwater" ] || { echo "garage.sh: no $headwater: make build, or set HEADWATER=…" >&2; exit 2; }

dir=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT

cat >"$dir/garage.toml" <<EOF
metadata_dir = "$dir/meta"
data_dir = "$dir/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:3901"
rpc_public_addr = "127.0.0.1:3901"
rpc_secret = "$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:3900"
root_domain = ".s3.garage.localhost"
EOF
g() { "$garage" -c "$dir/garage.toml" "$@"; }
g server >"$dir/garage.log" 2>&1 &
pids+=($!)
for _ in $(seq 50); do g status >/dev/null 2>&1 && break; sleep 0.2; done
node=$(g node id -q | cut -d@ -f1)
g layout assign -z here -c 1G "$node" >/dev/null
g layout apply --version 1 >/dev/null
g bucket create live >/dev/null
g key create headwater >"$dir/key"
g bucket allow --read --write --owner live --key headwater >/dev/null
id=$(sed -n 's/^Key ID: *//p' "$dir/key")
secret=$(sed -n 's/^Secret key: *//p' "$dir/key")
printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$secret" >"$dir/credentials"

# A server's configuration: its name, its role, the last digit of its ports.
configure() {
  cat >"$dir/$1.toml" <<EOF
[http]
listen = "127.0.0.1:1808$3"
[rtmp]
listen = "127.0.0.1:1193$3"
[srt]
listen = "127.0.0.1:1889$3"
[admin]
listen = "127.0.0.1:1999$3"
[store]
kind = "s3"
path = "$dir/$1"
bucket = "live"
endpoint = "http://127.0.0.1:3900"
region = "garage"
credentials = "$dir/credentials"
role = "$2"
[[channel]]
name = "a"
ladder = "source"
EOF
}
configure primary primary 1
configure replica replica 2
"$headwater" check --s3 --config "$dir/primary.toml"
"$headwater" serve --config "$dir/primary.toml" >"$dir/primary.log" 2>&1 &
pids+=($!)
"$headwater" serve --config "$dir/replica.toml" >"$dir/replica.log" 2>&1 &
pids+=($!)
until curl -sf http://127.0.0.1:19991/readyz >/dev/null; do sleep 0.2; done
ffmpeg -loglevel error -re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine -t 60 \
  -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -f flv rtmp://127.0.0.1:11931/live/a &
pids+=($!)
sleep 45
echo "primary:"; curl -sf http://127.0.0.1:19991/metrics | grep '^headwater_s3_' | grep -v bucket
list() { curl -sf "http://127.0.0.1:1808$1/live/a/source/index.m3u8" | grep '^\.\./'; }
listed=$(list 2 | wc -l)
missing=$(comm -23 <(list 2 | sort) <(list 1 | sort) | wc -l)
echo "replica: $listed segments listed, $missing of them not by the primary"
first=$(list 2 | head -1)
for n in 1 2; do curl -sf "http://127.0.0.1:1808$n/live/a/source/$first" | sha256sum; done | sort -u | wc -l |
  grep -qx 1 && [ "$listed" -gt 10 ] && [ "$missing" = 0 ] && echo "garage.sh: the same segments, the same bytes"
