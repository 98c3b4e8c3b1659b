$CAIRN keep golden; echo "status $?"
$CAIRN keep --last 0 golden; echo "status $?"
$CAIRN keep --last 1x golden; echo "status $?"
$CAIRN keep --last 99999999999999999999 golden; echo "status $?"
$CAIRN keep --last 4294967296 golden; echo "status $?"
$CAIRN keep --last 1; echo "status $?"
$CAIRN keep --best 1 golden; echo "status $?"
$CAIRN keep --best 0 --metric loss golden; echo "status $?"
$CAIRN keep --best 1 --metric "" golden; echo "status $?"
$CAIRN keep --best 1 --metric loss --metric accuracy golden; echo "status $?"
$CAIRN keep --last 1 --metric loss golden; echo "status $?"
$CAIRN keep --last 1 --max golden; echo "status $?"
$CAIRN tag golden@10 keepsake
$CAIRN keep --last 1 --dry-run golden; echo "status $?"
$CAIRN keep --last 1 --dry-run --json golden
$CAIRN tag golden@20 --metric accuracy=0.5
$CAIRN tag golden@30 --metric accuracy=0.25
$CAIRN keep --last 1 --best 1 --metric accuracy --max --dry-run golden; echo "status $?"
$CAIRN keep --best 1 --metric accuracy --dry-run golden; echo "status $?"
$CAIRN keep --best 1 --metric nothing --dry-run golden; echo "status $?"
ls -d golden/checkpoint-*
$CAIRN keep --last 1 golden nowhere; echo "status $?"
ls -d golden/checkpoint-*
$CAIRN verify golden; echo "status $?"
