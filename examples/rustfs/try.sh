#!/usr/bin/env bash
# The requests of RustFS's "KMS Admin HTTP API Reference", sent by awscurl to a server that this script starts, with
# what comes back. Nothing stays behind.
#
#   pip install awscurl && examples/rustfs/try.sh
#
# KES: how to run the command, by default `kes`. AWSCURL: by default `awscurl`.
set -euo pipefail
read -ra kes <<<"${KES:-kes}"
awscurl=${AWSCURL:-awscurl}
export RUSTFS_SECRET=only-for-this-example AWS_ACCESS_KEY_ID=ops AWS_SECRET_ACCESS_KEY=only-for-this-example

dir=$(mktemp -d)
trap '[ -z "${server:-}" ] || kill "$server"; wait; rm -rf "$dir"' EXIT
"${kes[@]}" identity new --key "$dir/server.key" --cert "$dir/server.cert" --dns localhost --ip 127.0.0.1 localhost >/dev/null
cat >"$dir/config.yml" <<YAML
address: 127.0.0.1:0
admin: { identity: disabled }
tls: { key: $dir/server.key, cert: $dir/server.cert }
keystore: { fs: { path: $dir/keys } }
rustfs:
  address: 127.0.0.1:0
  credentials:
    - { access_key: ops, secret_key: "\${RUSTFS_SECRET}", policy: admin }
  key_root: $dir/rustfs
YAML
mkdir "$dir/rustfs"
"${kes[@]}" server --config "$dir/config.yml" &>"$dir/log" &
server=$!
for _ in $(seq 300); do
  url=$(sed -nE 's/^RustFS API +//p' "$dir/log")
  [ -z "$url" ] || break
  kill -0 "$server" 2>/dev/null || break
  sleep 0.1
done
[ -n "$url" ] || { cat "$dir/log" >&2; exit 1; }

failures=0
# expect STATUS METHOD PATH [BODY]
expect() {
  local wanted=$1 method=$2 path=$3 body=${4:-} status
  echo
  echo "$method /kms$path${body:+  $body}"
  answer=$("$awscurl" --service s3 -v -X "$method" -d "$body" "$url/rustfs/admin/v3/kms$path" 2>"$dir/error") || true
  status=$(sed -nE 's/^.*Response code: ([0-9]+).*$/\1/p' "$dir/error")
  echo "$status ${answer:-(no body)}"
  [ "$status" = "$wanted" ] && return
  echo "! $wanted was expected" >&2
  failures=$((failures + 1))
}
# The first text of a name in the last answer.
field() { grep -oE "\"$1\": ?\"[^\"]*\"" <<<"$answer" | head -n 1 | sed -E 's/^.*"([^"]*)"$/\1/' || true; }

echo "The KMS Admin API is at $url/rustfs/admin/v3"
echo
echo "== Service lifecycle"
expect 200 GET /status
expect 409 POST /start
expect 200 POST /configure '{"backend_type":"local","key_dir":"'"$dir"'/rustfs/keys","master_key":"correct horse battery staple","default_key_id":"rustfs-master","enable_cache":true,"cache_ttl_seconds":600,"timeout_seconds":30,"retry_attempts":3}'
expect 200 POST /start
expect 409 POST /start
expect 200 GET /service-status
expect 200 POST /reconfigure '{"cache_ttl_seconds":60}'
expect 200 GET /config
expect 204 POST /clear-cache

echo
echo "== Keys"
expect 200 POST /keys '{"KeyUsage":"ENCRYPT_DECRYPT","Description":"project-alpha","Tags":{"owner":"security","env":"prod"}}'
id=$(field key_id)
expect 200 GET '/keys?limit=50'
expect 200 GET "/keys/$id"
expect 200 DELETE /keys/delete '{"key_id":"'"$id"'","pending_window_in_days":7}'
expect 200 POST /keys/cancel-deletion '{"key_id":"'"$id"'"}'
expect 200 POST /keys/rotate '{"key_id":"'"$id"'"}'

echo
echo "== Data keys"
context='"encryption_context":{"bucket":"analytics-data","object":"2024/09/18/report.parquet"}'
expect 200 POST /generate-data-key '{"key_id":"'"$id"'","key_spec":"AES_256",'"$context"'}'
plaintext=$(field plaintext_key)
blob=$(field ciphertext_blob)
expect 200 POST /decrypt-data-key '{"key_id":"'"$id"'","ciphertext_blob":"'"$blob"'",'"$context"'}'
[ "$(field plaintext_key)" = "$plaintext" ] || { echo "! it is another key" >&2; failures=$((failures + 1)); }
expect 400 POST /decrypt-data-key '{"key_id":"'"$id"'","ciphertext_blob":"'"$blob"'"}'

echo
echo "== Errors"
expect 400 POST /generate-data-key '{'
expect 404 GET /keys/missing
AWS_SECRET_ACCESS_KEY=another expect 401 GET /keys
expect 200 POST /stop
expect 503 GET /keys

echo
[ "$failures" = 0 ] && echo "Every answer was as it should be." && exit
echo "$failures answers were not as they should be." >&2
exit 1
