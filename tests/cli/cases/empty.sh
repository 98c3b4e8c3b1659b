mkdir empty && cd empty
$CAIRN ls; echo "status $?"
$CAIRN du; echo "status $?"
$CAIRN du --json; echo "status $?"
$CAIRN ls --json; echo "status $?"
cd ../golden && $CAIRN du | tail -1; echo "status $?"
