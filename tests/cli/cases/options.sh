$CAIRN ls --pin golden; echo "status $?"
$CAIRN rm --quick golden@10; echo "status $?"
$CAIRN doctor -C golden place; echo "status $?"
$CAIRN keep --remove golden; echo "status $?"
$CAIRN ls --nonsense; echo "status $?"
$CAIRN ls -x; echo "status $?"
$CAIRN keep golden --last; echo "status $?"
$CAIRN ls golden --help | head -1
$CAIRN nonsense; echo "status $?"
$CAIRN "$(printf 'a\033[31mb')"; echo "status $?"
$CAIRN; echo "status $?"
COLUMNS=24 $CAIRN ls golden
$CAIRN ls golden | head -1
