#!/bin/sh
# pmta-spool on a good spool, a damaged one, and with wrong arguments.
# usage: test_pmta_spool.sh PMTA_SPOOL BENCH_SPOOL
set -u
tool=$1 bench=$2
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
fail() { echo "failed: $*" >&2; exit 1; }

"$bench" "$dir/spool" 10 5 100 >/dev/null || fail "cannot make a spool"
"$tool" check "$dir/spool" >"$dir/out" || fail "check of a good spool"
grep -q 'received = ended + queued' "$dir/out" || fail "ledger not proved"
"$tool" --json check "$dir/spool" | grep -q '"queued":10,"live":false,"balanced":true,"problems":0' ||
    fail "json of check"
[ "$("$tool" list "$dir/spool" | grep -c recipient@example.com)" = 10 ] || fail "list"
id=$("$tool" list "$dir/spool" | sed -n '2s/ .*//p')
"$tool" dump "$dir/spool" "$id" | grep -q 'checksum matches' || fail "dump"
"$tool" dump "$dir/spool" 0000000000001 2>/dev/null && fail "dump of an unknown id"
"$tool" dump "$dir/spool" xyz 2>/dev/null
[ $? = 2 ] || fail "dump of what is no id"
"$tool" check 2>/dev/null
[ $? = 2 ] || fail "usage"
"$tool" check "$dir/none" 2>/dev/null
[ $? = 1 ] || fail "missing directory"

# one byte in the middle of the newest segment
newest=$(ls "$dir"/spool/seg/* | tail -1)
printf '\377' | dd of="$newest" bs=1 seek=400 conv=notrunc 2>/dev/null
"$tool" check "$dir/spool" >"$dir/out"
[ $? = 1 ] || fail "check of a damaged spool"
grep -q '^problem: seg/' "$dir/out" || fail "problem not named"
