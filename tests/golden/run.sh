#!/usr/bin/env bash
# Golden stores: what an earlier version wrote is read by this one and by the independent reader; what this version writes is, too.
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=${1:-build}
work=$tree/golden
rm -rf "$work"
mkdir -p "$work/new"
# shellcheck source=tests/check.sh
. tests/check.sh
label=golden
fails() { ! "$@"; }
for tar in tests/golden/store-*.tar.gz; do
    version=$(basename "$tar" .tar.gz)
    mkdir -p "$work/$version"
    tar -C "$work/$version" -xzf "$tar"
    check "$version: the independent reader verifies it" python3 tests/golden/reader.py "$work/$version/golden"
    check "$version: cairn verify" "$tree/cairn" verify "$work/$version/golden"
    check "$version: the listing" cmp <("$tree/cairn" ls --json -C "$work/$version" golden | sed "s|$work/||") "tests/golden/$version.ls.json"
    check "$version: the values" cmp <("$tree/cairn" show --json -C "$work/$version" golden@20 | sed "s|$work/||") "tests/golden/$version.show.json"
done
for tar in tests/golden/python-*.tar.gz; do
    version=$(basename "$tar" .tar.gz)
    mkdir -p "$work/$version"
    tar -C "$work/$version" -xzf "$tar"
    check "$version: the independent reader verifies it" python3 tests/golden/reader.py "$work/$version/golden"
    check "$version: and gives what Python saved" grep "Array(form='numpy'" <(python3 tests/golden/reader.py --python "$work/$version/golden/checkpoint-1")
    check "$version: cairn verify" "$tree/cairn" verify "$work/$version/golden"
done
gcc -Wall -Werror -Iinclude tests/golden/make_store.c "$tree/libcairn.a" -lm -pthread -o "$work/make_store" && "$work/make_store" "$work/new"
check 'the independent reader verifies what is written now' python3 tests/golden/reader.py "$work/new/golden"
cairn() { "$tree/cairn" -C "$work/new" "$@"; }
cairn tag golden@10 release --pin --metric accuracy=0.75 && cairn tag golden@10 other && cairn rm --item optimizer golden@30~1 >"$work/out"
check 'the independent reader knows marks and dropped items' grep 'checkpoint-10: .*release, other, pinned' <(python3 tests/golden/reader.py "$work/new/golden")
check 'and verifies all of it' python3 tests/golden/reader.py "$work/new/golden"
new=$work/new/golden/checkpoint-20 old=$work/store-0.1.0/golden/checkpoint-20
for file in model-00001-of-00004.safetensors model-00003-of-00004.safetensors training/optimizer.safetensors training/kinds.safetensors training/tensors.json \
    training/state.json model.safetensors.index.json; do
    check "the same state gives the same bytes: $file" cmp "$new/$file" "$old/$file"
done
printf X | dd of="$new/training/optimizer.safetensors" bs=1 seek=50000 conv=notrunc status=none
check 'the independent reader finds a changed byte' fails python3 tests/golden/reader.py "$work/new/golden"
finish
