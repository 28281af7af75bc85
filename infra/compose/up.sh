#!/usr/bin/env bash
# Starts what compose.yml lists. The first time it makes Garage's layout, its bucket and a key, which it
# leaves in `credentials` for Headwater alone to read.
set -euo pipefail
cd "$(dirname "$0")"

garage() { docker compose exec -T garage /garage "$@"; }

docker compose build headwater
if [ ! -e credentials ]; then
  docker compose up -d network garage
  until garage status >/dev/null 2>&1; do sleep 0.5; done
  node=$(garage node id -q 2>/dev/null | cut -d@ -f1)
  garage layout assign -z here -c 100G "$node"
  garage layout apply --version 1
  garage bucket create live
  key=$(garage key create headwater)
  garage bucket allow --read --write --key headwater live
  id=$(sed -n 's/^Key ID: *//p' <<<"$key")
  secret=$(sed -n 's/^Secret key: *//p' <<<"$key")
  umask 077
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$secret" >credentials.new
  # The user of the image, whom this machine does not know.
  chown 8935:8935 credentials.new 2>/dev/null || chmod 644 credentials.new
  mv credentials.new credentials
fi
docker compose up -d
