$CAIRN tag golden@20 release --pin --metric accuracy=0.83; echo "status $?"
$CAIRN ls golden | grep '^ *20 '
$CAIRN tag golden@release release --remove --unpin; echo "status $?"
$CAIRN ls --json golden | python3 -c 'import json,sys; d=json.load(sys.stdin); print([(c["step"], c["pinned"], c["tags"], c["metrics"].get("accuracy")) for c in d["checkpoints"] if c["step"] == 20])'
$CAIRN tag golden@20; echo "status $?"
$CAIRN tag golden@20 7; echo "status $?"
$CAIRN tag golden@20 --metric accuracy; echo "status $?"
$CAIRN tag golden@7 x; echo "status $?"
$CAIRN verify golden@20; echo "status $?"
$CAIRN tag --remove golden@20 nothing; echo "status $?"
$CAIRN tag golden@20 kept && $CAIRN tag --remove golden@20 kept nothing; echo "status $?"
$CAIRN show golden@20 | grep tags
$CAIRN tag --pin --unpin golden@20; echo "status $?"
$CAIRN tag golden@20 "$(printf 't%.0s' {1..101})" 2>&1 | sed 's/ttt*/ttt/'; echo "status ${PIPESTATUS[0]}"
$CAIRN tag golden@10 a,b \'tick "$(printf 'long%.0s' {1..20})" 1a 1b && COLUMNS=200 $CAIRN ls golden | grep -E ' (10|20) '
$CAIRN tag golden@20 $(seq -f t%g 100); echo "status $?"
$CAIRN tag golden@10 1c 1d && COLUMNS=200 $CAIRN ls golden | grep ' 10 '
chmod u+w golden/checkpoint-20/training/optimizer.safetensors; truncate -s 4000 golden/checkpoint-20/training/optimizer.safetensors # damage is in nobody's way
$CAIRN tag --remove golden@20 kept; echo "status $?"
