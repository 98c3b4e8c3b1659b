$CAIRN tag golden@20 release --pin --metric accuracy=0.83; echo "status $?"
$CAIRN ls golden | grep '^ *20 '
$CAIRN tag golden@release release --remove --unpin; echo "status $?"
$CAIRN ls --json golden | python3 -c 'import json,sys; d=json.load(sys.stdin); print([(c["step"], c["pinned"], c["tags"], c["metrics"].get("accuracy")) for c in d["checkpoints"] if c["step"] == 20])'
$CAIRN tag golden@20; echo "status $?"
$CAIRN tag golden@20 7; echo "status $?"
$CAIRN tag golden@20 --metric accuracy; echo "status $?"
$CAIRN tag golden@7 x; echo "status $?"
$CAIRN verify golden@20; echo "status $?"
