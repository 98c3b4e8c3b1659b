printf 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n' >pointer
printf '\n<!DOCTYPE html>\n<html><body>404</body></html>\n' >page
printf 'GGUF\003\000\000\000\001\000\000\000\000\000\000\000' >gguf
python3 -c 'import zipfile; z = zipfile.ZipFile("torch.bin", "w"); z.writestr("archive/data.pkl", "x"); zipfile.ZipFile("other.zip", "w").writestr("x", "y")'
printf '\200\002\212\012\154\374\234\106\371\040\152\250\120\031.' >old.pt
echo '{"architectures": []}' >config.json
echo 'just words' >words
mkfifo pipe
for file in pointer page gguf torch.bin other.zip old.pt config.json words pipe /dev/null; do timeout 5 $CAIRN verify $file; echo "status $?"; done
timeout 5 $CAIRN show pipe; echo "status $?"
$CAIRN show torch.bin; echo "status $?"
$CAIRN diff golden@20 pointer; echo "status $?"
$CAIRN verify --json pointer golden@20 | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["ok"], [(r["name"], r["ok"], r["code"], r.get("message")) for r in d["results"]], d["passed_over"])'
echo '{}' >golden/metrics.jsonl
$CAIRN verify golden/*; echo "status $?"
(cd golden && $CAIRN verify run.json metrics.jsonl; echo "status $?")
$CAIRN verify golden/checkpoint-20/*.* golden/checkpoint-20/training/*; echo "status $?"
$CAIRN verify --json golden/*.json | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["ok"], d["results"], d["passed_over"])'
printf '\001\002\003\004\005\006\007\000\001\002' >noise; $CAIRN verify noise; echo "status $?"
python3 -c 'print("é" * 400)' >accents; $CAIRN verify accents
mkdir hub && cp golden/checkpoint-20/model* hub && cp pointer hub/model-00002-of-00004.safetensors
$CAIRN verify hub; echo "status $?"
$CAIRN show hub; echo "status $?"
chmod u+w golden/checkpoint-20/*; cp pointer golden/checkpoint-20/model-00002-of-00004.safetensors
$CAIRN verify golden/checkpoint-20/model-00002-of-00004.safetensors; echo "status $?"
