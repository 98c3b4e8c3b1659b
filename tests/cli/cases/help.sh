$CAIRN --help; echo "status $?"
$CAIRN; echo "status $?"
for c in ls show verify diff; do $CAIRN $c --help; echo "status $?"; done
$CAIRN --version
$CAIRN frobnicate; echo "status $?"
$CAIRN ls --nonsense 2>/dev/null; echo "status $?"
