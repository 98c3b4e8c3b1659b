mkdir place
$CAIRN doctor place | sed 's/: .* free$/: FREE/; s/[0-9.]* \(ms\|[kMG]B\/s\)/N/g'; echo "status ${PIPESTATUS[0]}"
$CAIRN doctor --json place | sed 's/: [0-9.e-]*\(,\|$\)/: N\1/'
ls -A place
$CAIRN doctor nowhere; echo "status $?"
$CAIRN doctor; echo "status $?"
$CAIRN doctor /proc; echo "status $?"
