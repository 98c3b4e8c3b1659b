$CAIRN diff golden@20 golden@20; echo "status $?"
$CAIRN diff golden@30 golden@30~1; echo "status $?"
$CAIRN diff golden@20 golden@30; echo "status $?"
$CAIRN diff golden@20 golden/checkpoint-20/training/kinds.safetensors | tail -1; echo "status ${PIPESTATUS[0]}"
$CAIRN diff golden@20 golden/checkpoint-20/training/kinds.safetensors | tail -2 | head -1
$CAIRN diff --all golden@20 golden/checkpoint-20/training/kinds.safetensors | wc -l
$CAIRN diff --json golden@10 golden@20 | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["equal"], d["same"], d["different"], d["values_different"]); print(d["differences"][-2:], d["metrics"])'
$CAIRN tag golden@30~1 --metric late=0.5 && $CAIRN diff golden@30 golden@30~1; echo "status $?"
$CAIRN diff golden@20; echo "status $?"
$CAIRN diff golden@20 golden@77; echo "status $?"
printf X | dd of=golden/checkpoint-30/model-00003-of-00004.safetensors bs=1 seek=5000 conv=notrunc status=none
$CAIRN diff --json golden@20 golden@30; echo "status $?"
values() { python3 - "$@" <<'PY'
import json, struct, sys
text = json.dumps({"__metadata__": json.loads(sys.argv[2])}).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text)
PY
}
values a.safetensors '{"format": "pt", "gone": "1", "long": "'"$(printf 'é%.0s' {1..40})"'"}'
values b.safetensors '{"format": "np", "new": "\u001b[31m", "long": "x"}'
$CAIRN diff a.safetensors b.safetensors; echo "status $?"
mkdir hub && cp golden/checkpoint-20/model* hub/
$CAIRN diff --all golden@20 hub | grep -v ':.*: only in A$'
$CAIRN diff --all hub golden@20 | grep -v ':.*: only in B$'
$CAIRN diff hub hub; echo "status $?"
floats() { python3 - "$@" <<'PY'
import struct, sys
numbers = [float(number) for number in sys.argv[2:]]
text = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (len(numbers), 4 * len(numbers))
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + struct.pack(f"<{len(numbers)}f", *numbers))
PY
}
floats a.safetensors 1 2 3 4; floats b.safetensors 1 2.5 nan 4; floats c.safetensors 1 2 nan 4
$CAIRN diff a.safetensors b.safetensors; $CAIRN diff a.safetensors c.safetensors; $CAIRN diff c.safetensors b.safetensors
$CAIRN diff a.safetensors hub | tail -2
$CAIRN diff --read golden@10 golden@10; echo "status $?"
$CAIRN diff --json golden@10 golden@10 | grep by_digest; $CAIRN diff --json --read golden@10 golden@10 | grep by_digest
printf X | dd of=golden/checkpoint-10/model-00003-of-00004.safetensors bs=1 seek=5000 conv=notrunc status=none
$CAIRN diff golden@10 golden@10; echo "status $?"
$CAIRN diff --read golden@10 golden@10; echo "status $?"
