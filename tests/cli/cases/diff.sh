$CAIRN diff golden@20 golden@20; echo "status $?"
$CAIRN diff golden@30 golden@30~1; echo "status $?"
$CAIRN diff golden@20 golden@30; echo "status $?"
$CAIRN diff golden@20 golden/checkpoint-20/training/kinds.safetensors | tail -1; echo "status ${PIPESTATUS[0]}"
$CAIRN diff --json golden@10 golden@20 | python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["equal"], d["same"], d["different"], d["values_different"])'
$CAIRN diff golden@20; echo "status $?"
$CAIRN diff golden@20 golden@77; echo "status $?"
