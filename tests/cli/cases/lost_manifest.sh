mkdir golden/checkpoint-500 && echo '{}' >golden/checkpoint-500/trainer_state.json
$CAIRN verify golden | tail -2; echo "status ${PIPESTATUS[0]}"
rm golden/checkpoint-20/manifest.json
$CAIRN verify golden; echo "status $?"
$CAIRN verify --json golden | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["ok"], [r for r in d["results"] if not r["ok"]], d["passed_over"])'
$CAIRN verify golden/checkpoint-20; echo "status $?"
$CAIRN ls golden | tail -2
rm golden/checkpoint-20/training/tensors.json; $CAIRN verify golden | grep -A1 20:
rm golden/checkpoint-20/training/state.json; $CAIRN verify golden | grep 20:
