$CAIRN ls; echo "status $?"
$CAIRN ls golden; echo "status $?"
(cd golden && $CAIRN ls | head -2)
COLUMNS=40 $CAIRN ls golden
$CAIRN ls missing; echo "status $?"
$CAIRN ls --json golden | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["version"], [(c["step"], c["term"], c["standing"]) for c in d["checkpoints"]])'
mkdir -p golden/checkpoint-7/theirs golden/checkpoint-x && ln -s /etc golden/checkpoint-8 && mkfifo golden/checkpoint-9
printf x >> golden/checkpoint-10/manifest.json
$CAIRN ls golden; echo "status $?"
