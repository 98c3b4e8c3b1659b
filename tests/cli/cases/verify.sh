$CAIRN verify golden@20; echo "status $?"
$CAIRN verify golden; echo "status $?"
$CAIRN verify --quick golden@20; echo "status $?"
printf X | dd of=golden/checkpoint-20/training/optimizer.safetensors bs=1 seek=50000 conv=notrunc status=none
printf X | dd of=golden/checkpoint-20/model-00001-of-00004.safetensors bs=1 seek=5000 conv=notrunc status=none
printf X | dd of=golden/checkpoint-20/config.json bs=1 seek=3 conv=notrunc status=none
$CAIRN verify golden@20 | (read -r name; echo "$name"; sort); $CAIRN verify golden@20 >/dev/null; echo "status $?"
$CAIRN verify --quick golden@20; echo "status $?"
$CAIRN verify --json golden@20 | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["ok"], sorted((x["file"], x.get("block"), x["code"]) for x in d["results"][0]["damage"]))'
truncate -s -1 golden/checkpoint-10/training/kinds.safetensors; rm golden/checkpoint-10/config.json; $CAIRN verify golden@10; echo "status $?"
$CAIRN ls golden | grep '^ *10 '
printf X | dd of=golden/checkpoint-30/model-00003-of-00004.safetensors bs=1 seek=100 conv=notrunc status=none; $CAIRN verify golden@30; echo "status $?"
printf X | dd of=golden/checkpoint-40/manifest.json bs=1 seek=100 conv=notrunc status=none; $CAIRN verify golden/checkpoint-40; echo "status $?"
$CAIRN verify golden | grep -v '^ '; echo "status ${PIPESTATUS[0]}"
$CAIRN verify golden/checkpoint-20/training/kinds.safetensors; echo "status $?"
(cd golden/checkpoint-20 && $CAIRN verify model-00002-of-00004.safetensors)
(cd golden/checkpoint-20/training && $CAIRN verify kinds.safetensors)
cp golden/checkpoint-20/training/kinds.safetensors . && $CAIRN verify kinds.safetensors
$CAIRN verify nowhere; echo "status $?"
$CAIRN verify; echo "status $?"
