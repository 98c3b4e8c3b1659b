st() { python3 - "$@" <<'PY'
import struct, sys
name, text, data = sys.argv[1], sys.argv[2].encode().decode("unicode_escape").encode("latin-1"), bytes(int(sys.argv[3]))
open(name, "wb").write(struct.pack("<Q", len(text)) + text + data)
PY
}
st ansi.safetensors '{"a\\u001b[31mred\\u202e\\n":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}' 2; $CAIRN show ansi.safetensors; echo "status $?"
st json.safetensors '{"q\\"b\\\\n\\n\\t\\u0001\\u00e9\\u007f":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}' 2; $CAIRN show --json json.safetensors | grep '"name": "q'; $CAIRN show --json json.safetensors | python3 -c 'import json,sys; print(ascii(json.load(sys.stdin)["tensors"][0]["name"]))'
st path.safetensors '{"../../etc/passwd":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}' 2; $CAIRN verify path.safetensors; echo "status $?"
st twice.safetensors '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}' 1; $CAIRN show twice.safetensors; echo "status $?"
st short.safetensors '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 15; $CAIRN verify short.safetensors; echo "status $?"
st poly.safetensors '{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}' 17; $CAIRN verify poly.safetensors; echo "status $?"
printf '\377\377\377\377\377\377\377\377' > huge.safetensors; $CAIRN show huge.safetensors; echo "status $?"
: > empty.safetensors; $CAIRN show empty.safetensors; echo "status $?"
mkfifo fifo.safetensors; timeout 5 $CAIRN show fifo.safetensors; echo "status $?"
mkdir evil && printf '{"metadata":{},"weight_map":{"a":"../poly.safetensors"}}' > evil/model.safetensors.index.json; $CAIRN show evil; echo "status $?"
sed -i 's/"version":1/"version":2/' golden/run.json; $CAIRN ls golden; echo "status $?"
