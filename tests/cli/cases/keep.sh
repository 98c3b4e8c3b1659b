$CAIRN keep golden; echo "status $?"
$CAIRN keep --last 0 golden; echo "status $?"
$CAIRN keep --last 1x golden; echo "status $?"
$CAIRN keep --last 99999999999999999999 golden; echo "status $?"
$CAIRN keep --last 4294967296 golden; echo "status $?"
$CAIRN keep --last 1; echo "status $?"
$CAIRN tag golden@10 keepsake
$CAIRN keep --last 1 --dry-run golden; echo "status $?"
$CAIRN keep --last 1 --dry-run --json golden
ls -d golden/checkpoint-*
$CAIRN keep --last 1 golden nowhere; echo "status $?"
ls -d golden/checkpoint-*
$CAIRN verify golden; echo "status $?"
